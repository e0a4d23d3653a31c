"""Chinese names and sentences, with measure words."""

from vllm_jina_embed.demo.phrases.language import Forms, Language

_COLOURS = {
    "red": ("红色",),
    "green": ("绿色",),
    "blue": ("蓝色",),
    "yellow": ("黄色",),
    "purple": ("紫色",),
    "orange": ("橙色", "橘色"),
    "black": ("黑色",),
    "pink": ("粉色", "粉红色"),
}
# (measure word, noun)
_THINGS = {
    "circle": (("个", "圆形"), ("个", "圆")),
    "square": (("个", "正方形"), ("个", "方形")),
    "triangle": (("个", "三角形"),),
    "star": (("颗", "星星"), ("个", "五角星")),
    "cross": (("个", "十字"), ("个", "十字形")),
    "bar chart": (("张", "柱状图"), ("张", "条形图")),
    "pie chart": (("张", "饼图"),),
    "line chart": (("张", "折线图"),),
    "table": (("张", "表格"),),
}
# (the name alone, the name with its measure word)
_SCENES = {
    "sunset at the beach": (
        ("海滩上的日落", "一场海滩上的日落"),
        ("海边美丽的夕阳", "一幅海边美丽的夕阳"),
        ("沙滩的落日", "一幅沙滩的落日"),
        ("美丽的日落", "一场美丽的日落"),
    ),
    "snowy mountain": (("雪山", "一座雪山"), ("积雪的高山", "一座积雪的高山")),
    "forest": (("森林", "一片森林"), ("茂密的树林", "一片茂密的树林")),
    "city at night": (("城市的夜景", "一幅城市的夜景"), ("夜晚的城市", "一座夜晚的城市")),
    "desert": (("沙漠", "一片沙漠"), ("有沙丘的沙漠", "一片有沙丘的沙漠")),
}


def _coloured(measure: str, noun: str, colour: str) -> Forms:
    return {"bare": f"{colour}的{noun}", "short": f"{colour}{noun}", "one": f"一{measure}{colour}的{noun}"}


CHINESE = Language(
    code="zh",
    name="Chinese",
    forms={
        f"{colour} {thing}": tuple(_coloured(measure, noun, c) for measure, noun in nouns for c in colours)
        for colour, colours in _COLOURS.items()
        for thing, nouns in _THINGS.items()
    }
    | {scene: tuple({"bare": b, "short": b, "one": o} for b, o in names) for scene, names in _SCENES.items()},
    queries=("{bare}", "{short}", "{one}", "{short}的图片", "画着{one}的图", "寻找{one}", "哪张图里有{one}？"),
    passages=(
        "这张图上有{one}。",
        "图中可以看到{one}。",
        "这是{one}。",
        "{bare}就在这一页上。",
        "画家给我们画了{one}。",
    ),
    new_queries=("请给我看{one}", "{bare}在哪里？", "我想找{one}"),
    new_passages=("昨天我们画了{one}。", "纸上画着{one}。"),
)
