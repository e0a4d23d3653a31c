"""Chinese names and sentences, with measure words."""

from typing import Final

from vllm_jina_embed.demo.phrases.chinese_names import COLOURS, SCENES, THINGS
from vllm_jina_embed.demo.phrases.language import Forms, Language
from vllm_jina_embed.demo.phrases.neutral_words import NEUTRAL_WORDS

_SIMPLIFIED: Final = (
    "红绿蓝黄紫圆圈点盘环边颗张图条饼线数据统计滩场丽阳几个上海夜灯楼栋树积盖顶峰冰尔"
    "丛干热里沙纸画请给看找哪么这现见页们间吗样"
)
_TRADITIONAL: Final = (
    "紅綠藍黃紫圓圈點盤環邊顆張圖條餅線數據統計灘場麗陽幾個上海夜燈樓棟樹積蓋頂峰冰爾"
    "叢乾熱裡沙紙畫請給看找哪麼這現見頁們間嗎樣"
)


def _coloured(colour: str, thing: str) -> tuple[Forms, ...]:
    *names, short = COLOURS[colour]
    long = [
        {
            "bare": f"{c}的{noun}",
            "short": f"{c}{noun}",
            "one": f"一{measure}{c}的{noun}",
            "that": f"那{measure}{c}的{noun}",
        }
        for measure, noun in THINGS[thing]
        for c in names
    ]
    brief = [
        {
            "bare": f"{short}{noun}",
            "short": f"{short}{noun}",
            "one": f"一{measure}{short}{noun}",
            "that": f"那{measure}{short}{noun}",
        }
        for measure, noun in THINGS[thing]
    ]
    after = [
        {
            "bare": f"{noun}，{names[0]}的",
            "short": f"{names[0]}{noun}",
            "one": f"{names[0]}的一{measure}{noun}",
            "that": f"这{measure}{names[0]}{noun}",
        }
        for measure, noun in THINGS[thing]
    ]
    return (*long, *brief, *after)


CHINESE = Language(
    code="zh",
    name="Chinese",
    forms={f"{colour} {thing}": _coloured(colour, thing) for colour in COLOURS for thing in THINGS}
    | {
        scene: tuple({"bare": b, "short": b, "one": o, "that": f"那{o[1:]}"} for b, o in names)
        for scene, names in SCENES.items()
    },
    queries=(
        "{bare}",
        "{bare}",
        "{short}",
        "{one}",
        "{that}",
        "{short}的[图片|照片|图像|图|画|插图|页面|图案]",
        "[画着|有|带有|包含|画了]{one}的[图|图片|照片|页面|画]",
        "[寻找|查找|找|找一下|搜索|显示|给我|给我看看|帮我找|请找出|请显示|来]{one}",
        "[寻找|查找|搜索|显示|给我看|帮我找|请找出|我要看|想看]{short}",
        "[哪张图里|哪里|哪一页|哪张照片里|这里|什么地方]有{one}[？|]",
        "[有没有|你有|有|能不能给我|可以给我看|能找到]{one}[吗|吗？|？|]",
        "{short}[在哪|在哪儿|在哪里呢|有吗|呢|图片在哪里|有哪些|是哪个]",
        "[我想看|我要|我想要|我需要|我们要找|想看看|我在找]{one}",
        "[请问|麻烦|你好，]{short}[在哪|在哪儿|有没有|在什么地方|怎么找]",
        "[把|请把]{that}[给我|找出来|拿给我看|显示出来]",
        "[所有|全部|几个|很多|两个|一些]{short}",
        "[大的|小的|漂亮的|简单的|一幅]{bare}",
    ),
    passages=(
        "[这张图上|这页上|画面中|书里|中间|墙上]有{one}。",
        "图中可以看到{one}。",
        "[这是|那是|这里是]{one}。",
        "{bare}就在这一页上。",
        "[画家|我妹妹|朋友|有人][给我们|]画了{one}。",
        "[我们|我|他们][拍到了|看见|发现了|做了]{one}。",
        "[报告里|最后一页|照片里][有|是|出现了]{short}。",
        "{that}[很大|很清楚|在中间|挂在墙上|很好看]。",
        "[一张|一幅]{short}的[图|照片]。",
        "{bare}",
    ),
    new_queries=("请给我看{one}", "{bare}在哪里？", "我想找{one}"),
    new_passages=("昨天我们画了{one}。", "纸上画着{one}。"),
    neutral=NEUTRAL_WORDS["zh"],
    spellings=(dict(zip(_SIMPLIFIED, _TRADITIONAL, strict=True)), {"的": ""}, {"？": "?"}),
)
