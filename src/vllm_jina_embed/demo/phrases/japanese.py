"""Japanese names and sentences."""

from vllm_jina_embed.demo.phrases.language import Forms, Language

_COLOURS = {
    "red": ("赤い", "赤色の"),
    "green": ("緑の", "緑色の"),
    "blue": ("青い", "青色の"),
    "yellow": ("黄色い", "黄色の"),
    "purple": ("紫の", "紫色の"),
    "orange": ("オレンジ色の", "オレンジの"),
    "black": ("黒い", "黒色の"),
    "pink": ("ピンクの", "ピンク色の"),
}
_THINGS = {
    "circle": ("円", "丸"),
    "square": ("正方形", "四角"),
    "triangle": ("三角形", "三角"),
    "star": ("星",),
    "cross": ("十字",),
    "bar chart": ("棒グラフ",),
    "pie chart": ("円グラフ",),
    "line chart": ("折れ線グラフ",),
    "table": ("表",),
}
_SCENES = {
    "sunset at the beach": ("浜辺の夕日", "海に沈む夕日", "砂浜の美しい夕焼け", "美しい夕日", "浜辺の日没"),
    "snowy mountain": ("雪山", "雪の積もった山", "雪に覆われた山"),
    "forest": ("森", "深い森", "木々の茂る森林"),
    "city at night": ("夜の街", "夜の都市", "街の夜景"),
    "desert": ("砂漠", "乾いた砂漠", "砂丘のある砂漠"),
}


def _forms(name: str) -> Forms:
    return {"bare": name}


JAPANESE = Language(
    code="ja",
    name="Japanese",
    forms={
        f"{colour} {thing}": tuple(_forms(f"{c}{t}") for t in things for c in colours)
        for colour, colours in _COLOURS.items()
        for thing, things in _THINGS.items()
    }
    | {scene: tuple(_forms(name) for name in names) for scene, names in _SCENES.items()},
    queries=("{bare}", "{bare}の絵", "{bare}の画像", "{bare}を探す", "{bare}の画像はどれですか", "{bare}を描いた絵"),
    passages=(
        "これは{bare}です。",
        "この絵には{bare}が描かれています。",
        "ここに{bare}が見えます。",
        "{bare}の簡単な絵です。",
        "このページには{bare}があります。",
    ),
    new_queries=("{bare}を見せて", "{bare}はどこですか", "{bare}の写真が見たい"),
    new_passages=("昨日、{bare}を描きました。", "紙に{bare}が描いてあります。"),
    new_texts={"sunset at the beach": ("浜辺に沈む美しい夕日",)},
)
