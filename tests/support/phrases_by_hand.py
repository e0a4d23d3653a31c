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

_BY_ANOTHER_HAND = {
    "de": """
red circle: roter Kreis
red circle: Wo finde ich einen roten Kreis?
red circle: ein Bild mit einem roten Kreis
green circle: der grüne Kreis
blue circle: Zeigen Sie mir bitte den blauen Kreis
yellow circle: Kreis in Gelb
black circle: ein schwarzer Punkt, kreisrund
blue star: ein blauer Stern
blue star: Sterne, blau
red star: Ich suche den roten Stern
yellow star: gelber Stern auf hellem Grund
green star: Gibt es auch grüne Sterne?
purple star: einen lila Stern, bitte
black star: das Bild mit dem schwarzen Stern
orange square: orangefarbenes Quadrat
red square: rotes Quadrat
green square: ein grünes Viereck
blue square: das blaue Quadrat
black square: schwarze Quadrate
pink square: Quadrat, rosa
yellow triangle: gelbes Dreieck
red triangle: ein rotes Dreieck wie auf einem Verkehrsschild
blue triangle: Hast du blaue Dreiecke?
green triangle: dreieck gruen
purple triangle: violettes Dreieck
pink triangle: ein Dreieck in Rosa
red cross: ein rotes Kreuz
black cross: schwarzes Kreuz
green cross: das grüne Kreuz der Apotheke
blue cross: mit einem blauen Kreuz
red bar chart: rotes Balkendiagramm
blue bar chart: Balkendiagramm mit blauen Balken
green bar chart: Umsatz als grünes Säulendiagramm
yellow pie chart: gelbes Kreisdiagramm
orange pie chart: ein Tortendiagramm in Orange
purple pie chart: lila Tortendiagramm
blue line chart: blaues Liniendiagramm
red line chart: eine rote Kurve im Diagramm
black line chart: Verlauf als schwarze Linie, Liniendiagramm
green table: eine grüne Tabelle
red table: Tabelle in Rot
blue table: die blaue Tabelle
sunset at the beach: Sonnenuntergang am Meer
sunset at the beach: ein Abend am Strand, wenn die Sonne untergeht
sunset at the beach: Wo sieht man die Sonne im Meer versinken?
snowy mountain: verschneiter Berg
snowy mountain: Berge im Schnee
snowy mountain: Gipfel mit Schnee bedeckt
forest: ein Wald
forest: viele Bäume im Wald
forest: Spaziergang zwischen Bäumen
city at night: eine Stadt bei Nacht
city at night: nächtliche Großstadt mit Lichtern
city at night: Hochhäuser in der Nacht
desert: Wüste
desert: Sanddünen in der Sonne
desert: ein Foto aus der Sahara
""",
    "en": """
red circle: show me a red circle
green circle: where is the green circle?
blue star: pictures of blue stars
yellow star: a yellow star please
black square: black square
orange square: squares in orange
pink triangle: the pink triangle
red triangle: is there any red triangle here
green cross: green cross
red cross: image with a red cross
blue bar chart: bar chart in blue
red bar chart: red bars, a chart
purple pie chart: a purple pie chart
yellow pie chart: pie chart, yellow slices
black line chart: a line chart drawn in black
green line chart: green line chart
blue table: a blue table with rows
orange table: table in orange
sunset at the beach: the sun setting over the sea
sunset at the beach: beach at sundown
snowy mountain: snow on the mountain
snowy mountain: mountains in winter
forest: a forest with many trees
forest: walking through the woods
city at night: city lights at night
city at night: skyscrapers by night
desert: sand dunes in the desert
desert: a hot dry desert
purple circle: purple circle
pink star: one pink star
""",
    "es": """
red circle: un círculo rojo
green circle: ¿dónde está el círculo verde?
blue star: estrella azul
yellow star: busco una estrella amarilla
black square: cuadrado negro
orange square: un cuadrado de color naranja
pink triangle: el triángulo rosa
red triangle: triángulos rojos
green cross: una cruz verde
red cross: imagen con una cruz roja
blue bar chart: gráfico de barras azul
red bar chart: un gráfico con barras rojas
purple pie chart: gráfico circular morado
yellow pie chart: gráfico de tarta amarillo
black line chart: gráfico de líneas negro
green line chart: un gráfico de líneas verde
blue table: una tabla azul
orange table: tabla naranja
sunset at the beach: puesta de sol en la playa
sunset at the beach: atardecer junto al mar
snowy mountain: montaña con nieve
snowy mountain: las montañas nevadas
forest: un bosque con muchos árboles
forest: paseo por el bosque
city at night: la ciudad de noche
city at night: luces nocturnas de la ciudad
desert: dunas de arena
desert: el desierto
purple circle: círculo violeta
pink star: ¿tienes una estrella rosa?
""",
    "ja": """
red circle: 赤い丸
green circle: 緑の円はどこですか
blue star: 青い星
yellow star: 黄色い星を見せてください
black square: 黒い四角
orange square: オレンジ色の正方形
pink triangle: ピンクの三角形
red triangle: 赤い三角
green cross: 緑の十字
red cross: 赤い十字の画像
blue bar chart: 青い棒グラフ
red bar chart: 赤い棒グラフを探しています
purple pie chart: 紫の円グラフ
yellow pie chart: 黄色の円グラフ
black line chart: 黒い折れ線グラフ
green line chart: 緑色の折れ線グラフ
blue table: 青い表
orange table: オレンジの表
sunset at the beach: 海辺の夕日
sunset at the beach: 夕暮れのビーチ
snowy mountain: 雪の積もった山
snowy mountain: 冬の雪山
forest: 木がたくさんある森
forest: 森の中を歩く
city at night: 夜の街
city at night: 都会の夜景
desert: 砂漠の砂丘
desert: 暑い砂漠
purple circle: 紫色の丸
pink star: ピンクの星はありますか
""",
    "zh": """
red circle: 红色的圆
green circle: 绿色圆形在哪里
blue star: 蓝色的星星
yellow star: 给我看一颗黄色的星星
black square: 黑色正方形
orange square: 橙色的方块
pink triangle: 粉色三角形
red triangle: 一个红三角
green cross: 绿色的十字
red cross: 红十字图片
blue bar chart: 蓝色柱状图
red bar chart: 红色的柱形图
purple pie chart: 紫色饼图
yellow pie chart: 黄色的饼图
black line chart: 黑色折线图
green line chart: 绿色的折线图
blue table: 蓝色表格
orange table: 橙色的表格
sunset at the beach: 海边日落
sunset at the beach: 沙滩上的夕阳
snowy mountain: 雪山
snowy mountain: 被雪覆盖的山峰
forest: 有很多树的森林
forest: 在树林里散步
city at night: 城市夜景
city at night: 夜晚的城市灯光
desert: 沙漠里的沙丘
desert: 炎热的沙漠
purple circle: 紫色圆圈
pink star: 有粉红色的星星吗
""",
}
"""By somebody who had not read the recipe."""

_AFTER_THE_LAST_STAGE = {
    "en": """
purple square: have you got anything with a purple square on it
orange triangle: the orange triangle from the traffic brochure
blue circle: I need a plain blue circle for the flyer
pink star: is there a pink star in this collection?
green line chart: growth of our members as a green line chart
red pie chart: that red pie chart the boss mentioned
yellow bar chart: sales per region, yellow bars
sunset at the beach: the sun sinking into the sea
forest: a walk through the forest in autumn
city at night: skyline with lights after dark
""",
    "de": """
red circle: Gibt es irgendwo einen roten Kreis?
blue square: das blaue Quadrat aus dem Prospekt, bitte
green triangle: Ich hätte gern ein grünes Dreieck
yellow star: der gelbe Stern auf dem Plakat
black cross: ein schwarzes Kreuz, ganz schlicht
orange circle: Kreis, orange, für die Einladung
pink square: rosa Quadrat gesucht
purple triangle: Wo war nochmal das violette Dreieck?
blue bar chart: Umsatz je Quartal als blaues Balkendiagramm
green pie chart: Habt ihr das grüne Kreisdiagramm noch?
red line chart: der Kursverlauf als rote Linie im Diagramm
yellow table: Mitgliederliste als gelbe Tabelle
green table: die grüne Tabelle mit den Preisen
red star: Roter Stern, fünf Zacken
black square: nur ein schwarzes Quadrat, sonst nichts
sunset at the beach: Abends am Strand, als die Sonne unterging
snowy mountain: verschneiter Gipfel in den Alpen
forest: Spaziergang im Wald
city at night: die Stadt bei Nacht mit all ihren Lichtern
desert: Kamele in der Wüste
""",
    "ja": """
red square: 赤い四角の絵を見せてください
green circle: 緑の丸はどこですか
blue triangle: チラシにあった青い三角形
pink star: ピンクの星がほしい
black cross: 黒い十字のマーク
yellow bar chart: 売上の黄色い棒グラフ
purple table: 紫の表をもう一度見たい
sunset at the beach: 海に沈む夕日を見たい
snowy mountain: 雪をかぶった山の写真
city at night: 夜の街の明かり
""",
    "es": """
red square: ¿Dónde está el cuadrado rojo del folleto?
green circle: quiero un círculo verde para la invitación
blue triangle: un triángulo azul, sin nada más
pink star: una estrella rosa para mi hija
black cross: la cruz negra del cartel
yellow bar chart: ventas por región en barras amarillas
purple table: la tabla morada con los precios
sunset at the beach: el sol poniéndose en la playa
snowy mountain: una montaña cubierta de nieve
city at night: la ciudad de noche con sus luces
""",
    "zh": """
red square: 请给我看红色的正方形
green circle: 绿色的圆在哪里
blue triangle: 宣传册上的蓝色三角形
pink star: 我想要一颗粉色的星星
black cross: 海报上的黑色十字
yellow bar chart: 各地区销售额的黄色柱状图
purple table: 那张紫色的价格表
sunset at the beach: 海边看日落
snowy mountain: 白雪覆盖的山
city at night: 夜晚城市的灯光
""",
}
"""Written after the weights that ship were chosen, and measured once: no checkpoint was chosen by them."""


def phrases_by_hand(code: str) -> list[tuple[str, str]]:
    """Return (phrase, concept) pairs of a language.

    Raises:
        ValueError: A line names no concept, or stands there twice.
    """
    rows: list[tuple[str, str]] = []
    for line in (_BY_HAND[code] + _BY_ANOTHER_HAND[code] + _AFTER_THE_LAST_STAGE[code]).split("\n"):
        if not line:
            continue
        concept, _, phrase = line.partition(": ")
        if concept not in CONCEPTS or not phrase.strip():
            raise ValueError(f"{code}: {line!r} is not 'concept: phrase' with a concept such as {CONCEPTS[0]!r}.")
        rows.append((phrase, concept))
    if len({phrase for phrase, _ in rows}) < len(rows):
        raise ValueError(f"{code}: a phrase stands there twice.")
    return rows
