"""Phrases by hand: what a visitor might ask of the demo, written after the checkpoint was trained, never to train on.

Each line names a concept of ``vllm_jina_embed.demo.concepts`` and a phrase about it. Add lines freely, and
never change the recipe's phrases because of a line here.
"""

from vllm_jina_embed.demo.concepts import CONCEPTS

_BY_HAND = {
    "en": """
red circle: Have you kept that red disc somewhere?
green circle: a big round green thing
blue square: Who painted the little blue square?
yellow square: two yellow squares side by side
purple triangle: I remember a purple triangle
pink triangle: anything triangular and pink would do
orange star: orange stars for my daughter's birthday card
black star: one lonely black star
red cross: the Red Cross logo, just the cross
green cross: a pharmacy's green cross
yellow star: shiny yellow star, five points
blue cross: BLUE CROSS
black bar chart: bar chart drawn in black ink
green bar chart: quarterly profit as green bars
blue pie chart: market share as a blue pie chart
pink pie chart: pink pie chart about cookies
red line chart: temperature over time, red line graph
purple line chart: the line chart, but the purple one
yellow table: table highlighted in yellow
orange table: Could you open the orange table for my boss?
blue table: blue tables only
pink square: pnik square
purple circle: purple dots
black triangle: warning sign: black triangle
green star: Any green stars left?
orange circle: an orange circle, like a basketball
red square: Red squares, as many as you can find
yellow line chart: yellow line graphs of the stock price
orange bar chart: orange bar charts in the annual report
purple pie chart: where did I put my purple pie chart
sunset at the beach: we watched the sun go down from the sand
sunset at the beach: evening light on the waves
sunset at the beach: a postcard from the seaside at dusk
snowy mountain: skiing holiday in the mountains
snowy mountain: peaks white with snow
snowy mountain: a climber's dream: the snowy summit
forest: getting lost among tall trees
forest: the woods behind our house
city at night: downtown Chicago after midnight
city at night: all the windows are lit tonight in the city
desert: nothing but dunes
desert: a cactus under the blazing sun
black table: a table with a black header
green triangle: triangle, green, tiny
""",
    "de": """
red circle: Hast du den roten Kreis irgendwo gespeichert?
green circle: ein großer runder grüner Fleck, also ein Kreis
blue square: Wer hat das kleine blaue Quadrat gemalt?
yellow square: zwei gelbe Quadrate nebeneinander
purple triangle: Ich erinnere mich an ein lila Dreieck
pink triangle: irgendein rosa Dreieck würde reichen
orange star: orange Sterne für die Geburtstagskarte meiner Tochter
black star: ein einzelner schwarzer Stern
red cross: Das Rote Kreuz
green cross: das gruene Apothekenkreuz
yellow star: leuchtend gelber Weihnachtsstern
blue cross: BLAUES KREUZ
black bar chart: Balkendiagramm mit schwarzer Tinte gezeichnet
green bar chart: Quartalsgewinne als grüne Balken
blue pie chart: Marktanteile als blaues Tortendiagramm
pink pie chart: rosanes kreisdiagramm
red line chart: Temperaturverlauf als rotes Liniendiagramm
purple line chart: das Liniendiagramm, aber das in Violett
yellow table: Wo steht die gelb markierte Tabelle?
orange table: Würden Sie meinem Chef bitte die orangefarbene Tabelle öffnen?
blue table: nur blaue Tabellen
pink square: pinkes Qudrat
purple circle: lilane Kreise
black triangle: Warnschild: schwarzes Dreieck
green star: Sind noch grüne Sterne übrig?
orange circle: ein oranger Kreis wie ein Basketball
red square: so viele rote Quadrate wie möglich
yellow line chart: Aktienkurs in einem gelben Liniendiagramm
orange bar chart: die orangen Säulendiagramme aus dem Jahresbericht
purple pie chart: wohin habe ich bloß mein violettes Kreisdiagramm gelegt
sunset at the beach: wir sahen vom Sand aus, wie die Sonne im Meer verschwand
sunset at the beach: Abendlicht auf den Wellen
sunset at the beach: Postkarte von der Küste mit Sonnenuntergang
snowy mountain: Skiurlaub in den Bergen
snowy mountain: weiß verschneite Bergspitzen
snowy mountain: der Traum jedes Bergsteigers: ein Gipfel im Schnee
forest: sich zwischen hohen Bäumen verlaufen
forest: das Wäldchen hinter unserem Haus
city at night: München nach Mitternacht
city at night: in der ganzen Stadt brennt noch Licht
desert: nichts als Dünen
desert: Kaktus in der prallen Sonne
black table: Tabelle mit schwarzer Kopfzeile
green triangle: dreieck, gruen, winzig
blue star: Mit dem blauen Stern kann ich etwas anfangen
red triangle: des roten Dreiecks
yellow circle: In welchem Bild steckt der gelbe Kreis?
""",
    "es": """
red circle: ¿Guardaste el círculo rojo en algún sitio?
green circle: una cosa redonda y verde, un círculo
blue square: ¿Quién pintó el cuadradito azul?
yellow square: dos cuadrados amarillos juntos
purple triangle: recuerdo un triángulo morado
pink triangle: cualquier triángulo rosa me sirve
orange star: estrellas naranjas para la tarjeta de mi hija
black star: una sola estrella negra
red cross: la Cruz Roja
green cross: la cruz verde de la farmacia
yellow star: estrella amarilla brillante
blue cross: CRUZ AZUL
black bar chart: gráfico de barras hecho con tinta negra
green bar chart: ganancias trimestrales en barras verdes
blue pie chart: cuota de mercado en un gráfico circular azul
pink pie chart: gráfica de pastel rosa sobre galletas
red line chart: temperatura a lo largo del tiempo, gráfico de líneas rojo
purple line chart: el gráfico de líneas, pero el violeta
yellow table: tabla resaltada en amarillo
orange table: ¿Le abrirías la tabla naranja a mi jefa?
blue table: solo tablas azules
pink square: cuadardo rosa
purple circle: circulos morados
black triangle: señal de peligro: triángulo negro
green star: ¿Quedan estrellas verdes?
orange circle: un círculo naranja como un balón
red square: todos los cuadrados rojos que encuentres
yellow line chart: gráficos de líneas amarillos de la bolsa
orange bar chart: los gráficos de barras naranjas del informe anual
purple pie chart: dónde habré puesto mi gráfico de sectores morado
sunset at the beach: vimos desde la arena cómo se escondía el sol en el mar
sunset at the beach: luz de la tarde sobre las olas
sunset at the beach: una postal de la costa al ponerse el sol
snowy mountain: vacaciones de esquí en la montaña
snowy mountain: picos blancos de nieve
snowy mountain: el sueño de un alpinista: la cumbre nevada
forest: perderse entre árboles altos
forest: el bosquecito detrás de casa
city at night: Buenos Aires pasada la medianoche
city at night: toda la ciudad tiene las luces encendidas
desert: nada más que dunas
desert: un cactus a pleno sol
black table: tabla con encabezado negro
green triangle: triangulo, verde, chiquito
""",
    "ja": """
red circle: あの赤い丸、どこかに保存してある？
green circle: 大きくて丸い緑のもの
blue square: 小さな青い四角を描いたのは誰
yellow square: 黄色い正方形が二つ並んでいる
purple triangle: 紫の三角形を覚えています
pink triangle: ピンクの三角なら何でもいい
orange star: 娘の誕生日カードに使うオレンジの星
black star: ぽつんと一つだけの黒い星
red cross: 赤十字
green cross: 薬局の緑の十字
yellow star: ぴかぴかの黄色い星
blue cross: 青の十字のやつ見せてよ
black bar chart: 黒インクで描いた棒グラフ
green bar chart: 四半期の利益を緑の棒グラフで
blue pie chart: 市場シェアの青い円グラフ
pink pie chart: クッキーについてのピンク色の円グラフ
red line chart: 気温の変化、赤い折れ線グラフ
purple line chart: 折れ線グラフ、紫のほう
yellow table: 黄色で強調された表
orange table: 上司のためにオレンジの表を開いてくれますか
blue table: 青い表だけ
pink square: ももいろのしかく
purple circle: むらさきの丸がいくつか
black triangle: 警告の黒い三角
green star: 緑の星は残っていますか
orange circle: バスケットボールみたいなオレンジ色の円
red square: 赤い正方形をできるだけたくさん
yellow line chart: 株価の黄色い折れ線グラフ
orange bar chart: 年次報告書のオレンジ色の棒グラフ
purple pie chart: 私の紫の円グラフ、どこに置いたかな
sunset at the beach: 砂浜に座って日が沈むのを眺めた
sunset at the beach: 波に映る夕方の光
sunset at the beach: 夕暮れの海辺の絵はがき
snowy mountain: 山へスキー旅行
snowy mountain: 雪で真っ白な山の頂
snowy mountain: 登山家の夢、雪の頂上
forest: 高い木々の間で迷う
forest: 家の裏の林
city at night: 真夜中の渋谷
city at night: 今夜も街じゅうの窓に明かりがついている
desert: 砂丘しかない
desert: 照りつける太陽とサボテン
black table: 見出しが黒い表
green triangle: 三角、緑、ちいさいやつ
""",
    "zh": """
red circle: 那个红色的圆你存在哪儿了
green circle: 一个又大又圆的绿色圆形
blue square: 小小的蓝色方块是谁画的
yellow square: 两个并排的黄色正方形
purple triangle: 我记得有个紫色三角形
pink triangle: 随便一个粉色三角形就行
orange star: 给女儿生日卡用的橙色星星
black star: 孤零零的一颗黑色星星
red cross: 红十字会的标志
green cross: 药店的绿色十字
yellow star: 闪亮的黄色五角星
blue cross: 藍色十字
black bar chart: 用黑墨水画的柱状图
green bar chart: 用绿色柱状图表示季度利润
blue pie chart: 市场份额的蓝色饼图
pink pie chart: 关于饼干的粉色饼图
red line chart: 气温变化的红色折线图
purple line chart: 折线图，紫色那张
yellow table: 用黄色标出的表格
orange table: 能替老板打开橙色的表格吗
blue table: 只要蓝色表格
pink square: 粉红方形
purple circle: 好几个紫色的圆圈
black triangle: 警示牌：黑色三角形
green star: 还剩绿色的星星吗
orange circle: 像篮球一样的橙色圆形
red square: 红色正方形越多越好
yellow line chart: 股价的黄色折线图
orange bar chart: 年报里的橙色柱状图
purple pie chart: 我的紫色饼图放到哪里去了
sunset at the beach: 坐在沙滩上看太阳落下去
sunset at the beach: 傍晚的光照在海浪上
sunset at the beach: 海边黄昏的明信片
snowy mountain: 去山里滑雪度假
snowy mountain: 白雪皑皑的山峰
snowy mountain: 登山者的梦想：雪中的顶峰
forest: 在高高的树中间迷路
forest: 我家屋后的小树林
city at night: 半夜的广州城
city at night: 今晚全城的窗户都亮着
desert: 除了沙丘什么都没有
desert: 烈日下的一棵仙人掌
black table: 表头是黑色的表格
green triangle: 三角形，绿的，小小的
""",
}


def phrases_by_hand(code: str) -> list[tuple[str, str]]:
    """Return (phrase, concept) pairs of a language.

    Raises:
        ValueError: A line names no concept, or stands there twice.
    """
    rows: list[tuple[str, str]] = []
    for line in _BY_HAND[code].strip().splitlines():
        concept, _, phrase = line.partition(": ")
        if concept not in CONCEPTS or not phrase.strip():
            raise ValueError(f"{code}: {line!r} is not 'concept: phrase' with a concept such as {CONCEPTS[0]!r}.")
        rows.append((phrase, concept))
    if len({phrase for phrase, _ in rows}) < len(rows):
        raise ValueError(f"{code}: a phrase stands there twice.")
    return rows
