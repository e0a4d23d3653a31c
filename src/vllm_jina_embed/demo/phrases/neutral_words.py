"""Words of everyday questions that say nothing of what an image shows, by language."""

from typing import Final

_WORDS: Final = {
    "en": """
        yesterday today we have seen here start stable crossing squarely starting please again often picture image
        photo page big small large little beautiful nice simple pretty lovely huge tiny new old show me find where
        is are what which who how the a an some any of with on in at for to and or this that it there you I want
        need like see look looking search get give drawing drawn painted drawing sketch background white paper
        plain single hello thanks slide report file document book sheet results sales numbers values company year
        weather music car house dog cat child really very just one two only can could would does do has contains
        about from shape colour color coloured shaped great cool clear visible displayed shown
    """,
    "de": """
        gestern heute wir haben hier vorgestern Kreuzung kreuzen tabellarisch bitte wieder oft morgen Bild Foto
        Seite groß großer großes große kleinen kleine kleiner schöne schöner schönes schönen einfache einfacher
        einfaches hübscher hübsches nette netter neues neue neuer alter altes alte zeig zeige zeigen such suche
        suchen finde finden wo ist sind was wer wie welcher welches mir uns mal doch denn noch auch nur sehr gern
        gerne möchte würde kann kannst könnte gibt es ich du Sie wir man und oder mit von auf im in der die das den
        dem ein eine einen einem einer Zeichnung gezeichnet gemalt gemaltes gemalter Grafik Abbildung Darstellung
        Papier Hintergrund weiß heller hellen irgendein irgendwo etwas alle einige schlichter einzelner schick toll
        tolles richtig ganz gefunden gesehen sieht danke hallo hey Chef Kollegen Vortrag Folie Präsentation Datei
        Dokument Bericht Buch Deutschland Wetter Musik Auto Haus Hund Katze Kind Jahr Zahlen Umsatz Firma Werte
        Ergebnisse
    """,
    "es": """
        ayer hoy hemos visto aquí estrellar cruzar tablado cuadrar círculos por favor otra vez imagen foto dibujo
        página grande gran pequeño pequeña bonito bonita hermoso hermosa lindo linda sencillo sencilla nuevo nueva
        viejo vieja muestra muéstrame enséñame busca busco encuentra quiero ver necesito dónde está están hay qué
        cuál quién cómo el la los las un una unos unas de del con en para y o que se este esta ese eso me nos te lo
        muy solo también sobre fondo blanco papel hoja dibujado dibujada pintado pintada gracias hola informe
        documento libro archivo resultados ventas valores números empresa año tiempo música coche casa perro gato
        niño puede puedes podría tienes tiene algún alguna todo todos todas cualquier mi tu su es son era fue color
        forma claro
    """,
    "ja": """
        昨日 今日 明日 絵 画像 写真 図 ページ 資料 本 報告書 大きな 小さな きれいな 美しい 素敵な かわいい 簡単な
        新しい 古い 見せて 見たい 探して 探す どこ どれ 何 誰 これ それ あれ この その あの ください お願い
        ありますか です ます した が は を に で と も の へ から まで 私 私たち あなた みんな 一つ 二つ たくさん
        全部 だけ とても ちょっと もう一度 また 描いた 描かれた 書いた 撮った 紙 背景 白い 会社 売上 数字 結果 年
        天気 音楽 車 家 犬 猫 子供 ありがとう こんにちは すみません ください ほしい 必要 見える 載っている 作った
        見つけた 教えて 出して という みたいな ような 一枚 の中
    """,
    "zh": """
        昨天 今天 明天 图片 照片 图像 图 画 页 书 报告 文件 大 小 大的 小的 漂亮的 美丽的 简单的 新的 旧的 请 给我
        看 找 显示 哪里 哪个 什么 谁 怎么 这 那 这个 那个 一个 一张 两个 几个 很多 所有 全部 有 没有 是 在 上 里 中
        的 了 吗 呢 吧 和 与 或 我 你 他 我们 你们 想 要 需要 可以 能 帮我 谢谢 你好 请问 麻烦 白色背景 纸 画着
        画的 拍的 公司 销售 数字 结果 年 天气 音乐 汽车 房子 狗 猫 孩子 很 非常 只 也 再 一下 看看 一幅 一种 那种
        东西 样子 形状 颜色
    """,
}
NEUTRAL_WORDS: Final = {code: tuple(words.split()) for code, words in _WORDS.items()}
