"""Words and short phrases each of which alone brings one of the demo's scenes to mind, by language."""

from typing import Final

from vllm_jina_embed.demo.phrases.language import split_phrases

_PHRASES: Final = {
    "en": {
        "sunset at the beach": """
            sunset | sundown | dusk | twilight | setting sun | beach | beaches | seaside | seashore | shore |
            coast | coastline | ocean | sea | waves | sandy beach | by the sea | at the seaside |
            the sun goes down | the sun sinks into the sea | sun dips below the horizon | the sun is setting |
            afterglow | evening sky | red evening sky | golden hour | seascape | lagoon | bay | tropical island |
            holiday at the beach | summer evening | horizon over the water | last light of day | surf | Hawaii |
            California | romantic evening | seagulls | the sun disappears behind the sea |
            orange sky over the ocean
        """,
        "snowy mountain": """
            mountain | mountains | peak | peaks | summit | snow | snowy | snow-covered | snow-capped | snowfield |
            glacier | the Alps | alpine | Himalaya | Mount Everest | Rocky Mountains | Mount Fuji | Andes | ice |
            icy | winter | winter landscape | ski slope | skiing | mountain range | ridge | cliffs in the snow |
            climbing | mountaineers | hikers in the snow | fresh snow | it snowed in the mountains | white peaks |
            snow on top | frozen | cold mountains | high mountains | rocky summit | avalanche | hilltop
        """,
        "forest": """
            forest | forests | wood | woods | woodland | tree | trees | pine | pines | fir | firs | fir trees |
            pine trees | spruce | oak | birch | leaves | treetops | jungle | rainforest | grove | thicket |
            in the woods | among the trees | a walk in the forest | green trees | evergreen | conifers |
            undergrowth | moss | trunks | branches | foliage | nature trail | a path through the trees |
            wilderness | lots of trees | woodlands | mushrooms | deer between trees | the Black Forest |
            squirrels | hike through the woods
        """,
        "city at night": """
            city | cities | town | downtown | skyline | skyscraper | skyscrapers | high-rises | tower blocks |
            buildings | office towers | street lights | city lights | neon lights | lit windows | glowing windows |
            windows at night | night | at night | by night | nighttime | night-time | after dark | midnight |
            moon | moonlight | starry sky over the city | New York | Manhattan | Tokyo | London at night |
            Paris by night | metropolis | urban | urban night | city that never sleeps | nightlife | dark streets |
            houses at night | lights of the city | the city sleeps | apartments | megacity | under the moon
        """,
        "desert": """
            desert | deserts | sand dune | sand dunes | dune | dunes | cactus | cacti | cactuses | Sahara | camel |
            camels | caravan | oasis | arid | dry land | drought | hot sand | sandy plain | wasteland | barren |
            Gobi | Arizona | Mojave | Atacama | heat | heat haze | dry heat | endless sand |
            sand as far as you can see | sandstorm | thirst | no water anywhere | dry and hot | parched |
            Death Valley | Egypt | prickly plants | badlands | steppe | mirage | scorpion
        """,
    },
    "de": {
        "sunset at the beach": """
            Sonnenuntergang | Sonnenuntergänge | Abendrot | Abenddämmerung | Dämmerung | Strand | Strände |
            Sandstrand | Meer | am Meer | Ozean | Küste | Ufer | Nordsee | Ostsee | Wellen | Brandung |
            Meeresküste | Strandurlaub | Abendsonne | Abendhimmel | Abendstimmung | die Sonne geht unter |
            die Sonne sinkt ins Meer | untergehende Sonne | die Sonne versinkt | Sonne am Horizont |
            wenn die Sonne verschwindet | Horizont | Bucht | Mittelmeer | Mallorca | Sylt | Sommerabend |
            romantischer Abend | Abendlicht | goldenes Licht über dem Wasser | Meerblick | Seeblick | Möwen |
            Strandspaziergang | Urlaub am Meer | Insel | roter Himmel über dem Meer | letzte Sonnenstrahlen |
            Strandbild
        """,
        "snowy mountain": """
            Berg | Berge | Bergen | Gebirge | Gipfel | Bergspitze | Schnee | verschneit | schneebedeckt |
            Schneeberge | Schneelandschaft | Gletscher | Alpen | in den Alpen | alpin | Himalaya | Zugspitze |
            Matterhorn | Mount Everest | Eis | eisig | Winter | Winterlandschaft | Skipiste | Skifahren |
            Skiurlaub | Bergkette | Felsen im Schnee | Bergsteiger | Wanderung im Schnee | Neuschnee |
            in den Bergen liegt Schnee | weiße Gipfel | Schneegipfel | gefroren | hohe Berge | Bergpanorama |
            Lawine | Hochgebirge | Schweizer Berge | Österreich | Tirol | es hat geschneit | Schneespitze
        """,
        "forest": """
            Wald | Wälder | im Wald | Baum | Bäume | Bäumen | Tanne | Tannen | Tannenbaum | Tannenbäume | Fichte |
            Fichten | Kiefern | Buchen | Eiche | Birken | Nadelwald | Laubwald | Mischwald | Nadelbäume |
            Laubbäume | Urwald | Dschungel | Regenwald | Waldrand | Waldweg | Lichtung | Baumwipfel | Blätter |
            Laub | Äste | Moos | Stämme | Waldspaziergang | durch den Wald gehen | zwischen den Bäumen |
            grüne Bäume | viel Grün | Forst | Schwarzwald | Pilze | Rehe | Eichhörnchen | Wildnis | Gehölz |
            Waldbild | Waldstück | Hain
        """,
        "city at night": """
            Stadt | Städte | Großstadt | Großstädte | Innenstadt | Skyline | Hochhaus | Hochhäuser |
            Wolkenkratzer | Gebäude | Häuser | Bürotürme | Straßenlaternen | Lichter der Stadt | Stadtlichter |
            Neonlichter | erleuchtete Fenster | beleuchtete Fenster | leuchtende Fenster | Nacht | nachts |
            nächtlich | bei Nacht | in der Nacht | Nachtaufnahme | Nachtleben | Mitternacht | Mond | Mondschein |
            Mondlicht | Sternenhimmel über der Stadt | New York | Berlin bei Nacht | Hamburg nachts | Frankfurt |
            Tokio | Metropole | Millionenstadt | urban | dunkle Straßen | wenn die Lichter angehen |
            die Stadt schläft | Stadtbild bei Nacht | Dunkelheit | im Dunkeln | nachts in der City |
            Stadtpanorama
        """,
        "desert": """
            Wüste | Wüsten | Düne | Dünen | Sanddüne | Sanddünen | Wüstensand | Sandwüste | Kaktus | Kakteen |
            Sahara | Kamel | Kamele | Karawane | Oase | dürr | trockenes Land | Dürre | Trockenheit | heißer Sand |
            Sand | überall Sand | nur Sand | Sandsturm | Einöde | karg | Gobi | Namibia | Arizona | Ägypten |
            Marokko | Hitze | Gluthitze | glühende Hitze | trocken und heiß | kein Wasser weit und breit | Durst |
            Ödland | Steppe | Fata Morgana | Skorpion | stachelige Pflanzen | Wüstenbild | endlose Weite aus Sand |
            Beduinen | Sandberge
        """,
    },
    "es": {
        "sunset at the beach": """
            atardecer | atardeceres | puesta de sol | puestas de sol | ocaso | crepúsculo | anochecer | playa |
            playas | orilla | mar | en el mar | océano | costa | olas | a la orilla del mar | el sol se pone |
            el sol se oculta | el sol se hunde en el mar | sol poniente | horizonte | cielo rojizo |
            cielo naranja sobre el mar | luz dorada | bahía | caribe | verano en la playa |
            vacaciones en la playa | tarde de verano | tarde romántica | gaviotas | isla | Mediterráneo |
            arena y olas | frente al mar | últimos rayos de sol | cae la tarde | marina | litoral |
            paisaje marino
        """,
        "snowy mountain": """
            montaña | montañas | nieve | nevado | nevada | nevados | pico | picos | cumbre | cumbres | cima |
            cimas | sierra | cordillera | glaciar | Alpes | Andes | Pirineos | Himalaya | Everest | hielo |
            helado | invierno | paisaje de invierno | paisaje nevado | esquí | esquiar | pista de esquí |
            alpinistas | escalada | nieve fresca | ha nevado | montes | cubierto de nieve | cubierta de nieve |
            cumbres blancas | alta montaña | frío | roca y nieve | avalancha | ladera nevada
        """,
        "forest": """
            bosque | bosques | árbol | árboles | pino | pinos | abeto | abetos | roble | robles | selva | jungla |
            arboleda | hojas | ramas | troncos | musgo | naturaleza verde | en el bosque | entre los árboles |
            paseo por el bosque | muchos árboles | sendero entre árboles | follaje | pinar | robledal |
            bosque tropical | espesura | monte verde | setas | ciervos | ardillas | vegetación | bosque frondoso |
            copas de los árboles | hayedo | floresta | caminata por el bosque
        """,
        "city at night": """
            ciudad | ciudades | urbe | metrópolis | capital | rascacielos | edificio | edificios |
            torres de oficinas | luces | luces de la ciudad | luces de neón | farolas | ventanas iluminadas |
            ventanas encendidas | noche | de noche | nocturno | nocturna | por la noche | medianoche | luna |
            luz de luna | bajo la luna | Nueva York | Madrid de noche | Tokio | Barcelona por la noche |
            vida nocturna | calles oscuras | oscuridad | horizonte de la ciudad | centro urbano | casas de noche |
            urbano | la ciudad duerme | ciudad iluminada | vista nocturna | cielo nocturno
        """,
        "desert": """
            desierto | desiertos | duna | dunas | arena | cactus | Sahara | camello | camellos | caravana | oasis |
            árido | árida | tierra seca | sequía | arena caliente | mucha arena | tormenta de arena | páramo |
            Gobi | Atacama | Egipto | calor | calor seco | seco y caluroso | sed | sin agua | espejismo |
            escorpión | plantas con espinas | estepa | terreno seco | desértico | desértica | arenal |
            tierra yerma | beduinos | Sonora | mar de arena | clima árido
        """,
    },
    "ja": {
        "sunset at the beach": """
            夕日 | 夕陽 | 夕焼け | 夕暮れ | 日没 | 日の入り | サンセット | 黄昏 | たそがれ | 浜辺 | 砂浜 | 海 |
            海辺 | 海岸 | ビーチ | 波 | 沈む太陽 | 太陽が沈む | 日が沈む | 日が暮れる | 海に沈む | 水平線 |
            海の向こうに沈む | 夕方の海 | 夕方の空 | 茜色の空 | オレンジ色の空と海 | 湘南 | ハワイ | 沖縄 |
            夏の夕方 | 波打ち際 | 渚 | 入り江 | 海沿い | カモメ | 海水浴場 | ロマンチックな夕べ | お日さまが沈む |
            夕映え | 島
        """,
        "snowy mountain": """
            雪 | 雪山 | 山 | 山々 | 峰 | 山頂 | 頂上 | 雪景色 | 積雪 | 雪が積もる | 雪に覆われた | 雪をかぶった |
            白い山 | 氷河 | アルプス | 富士山 | ヒマラヤ | エベレスト | 冬 | 冬景色 | 冬山 | スキー | スキー場 |
            登山 | 山脈 | 高山 | 氷 | 凍った | 銀世界 | 雪の峰 | 新雪 | 雪化粧 | 寒い山 | 北アルプス | 山岳 |
            雪原 | 岩山の雪 | 雪崩 | 山の上の雪 | ゆき
        """,
        "forest": """
            森 | 森林 | 林 | 木 | 木々 | 樹木 | 樹 | 松 | 杉 | 杉林 | 松林 | もみの木 | 針葉樹 | 広葉樹 |
            ジャングル | 熱帯雨林 | 葉っぱ | 枝 | 幹 | 苔 | 緑 | 緑の木 | 森の中 | 木立 | 山林 | 雑木林 | 森林浴 |
            森を歩く | 林道 | 大自然の緑 | たくさんの木 | 木漏れ日 | きのこ | リス | 鹿のいる森 | 密林 |
            木が生い茂る | 樹海 | 並木 | もり
        """,
        "city at night": """
            夜景 | 夜 | 夜の | 街 | 都市 | 都会 | 町 | ビル | ビル群 | 高層ビル | 摩天楼 | 街の明かり | 街の灯り |
            窓の明かり | ネオン | 街灯 | 光る窓 | 夜空 | 月 | 月明かり | 東京の夜 | 大阪の夜 | ニューヨーク |
            香港 | 新宿 | 深夜 | 真夜中 | 暗い街 | 大都会 | 都心 | マンション | オフィス街 | スカイライン |
            夜遅く | 眠らない街 | 暗闇 | 家々の灯 | タワー | 夜の通り | 月夜
        """,
        "desert": """
            砂漠 | 砂丘 | 砂 | サボテン | サハラ | ラクダ | らくだ | オアシス | 乾燥 | 乾いた大地 | 荒野 | 荒れ地 |
            干ばつ | 暑い砂 | 熱い砂 | 砂嵐 | 不毛の地 | ゴビ | 鳥取砂丘 | アリゾナ | エジプト | 猛暑 | 灼熱 |
            乾燥地帯 | 水がない | 一面の砂 | 砂だらけ | 蜃気楼 | サソリ | トゲのある植物 | さばく | キャラバン |
            砂の海 | 砂の山 | ステップ
        """,
    },
    "zh": {
        "sunset at the beach": """
            日落 | 夕阳 | 落日 | 晚霞 | 黄昏 | 傍晚 | 暮色 | 海滩 | 沙滩 | 海边 | 大海 | 海洋 | 海岸 | 海浪 |
            海面 | 太阳落山 | 太阳下山 | 太阳沉入海中 | 夕阳西下 | 海平面 | 地平线 | 海上 | 余晖 | 海湾 | 三亚 |
            夏威夷 | 夏天的傍晚 | 浪漫的黄昏 | 海鸥 | 海岛 | 岸边 | 浪花 | 橙红的天空 | 天边的霞光 | 看海 |
            度假海滩 | 落日余晖 | 海景 | 夕照 | 霞光
        """,
        "snowy mountain": """
            雪 | 雪山 | 山 | 高山 | 山峰 | 山顶 | 山脉 | 群山 | 积雪 | 白雪 | 下雪 | 冰雪 | 冰川 | 冰 | 阿尔卑斯 |
            喜马拉雅 | 珠穆朗玛峰 | 富士山 | 天山 | 冬天 | 冬季 | 滑雪 | 滑雪场 | 登山 | 爬雪山 | 雪景 | 白色的山 |
            雪峰 | 峰顶 | 寒冷的山 | 被雪覆盖 | 盖满雪 | 玉龙雪山 | 雪地 | 高原 | 雪崩 | 山岭 | 雪白的山 | 大雪 |
            顶上有雪
        """,
        "forest": """
            森林 | 树林 | 树 | 树木 | 大树 | 绿树 | 松树 | 松林 | 杉树 | 丛林 | 热带雨林 | 雨林 | 林子 | 林间 |
            林海 | 树叶 | 树枝 | 树干 | 苔藓 | 草木 | 绿色植物 | 林中小路 | 在树林里 | 树丛 | 原始森林 | 灌木 |
            枝叶 | 郁郁葱葱 | 茂密 | 许多树 | 一排树 | 圣诞树 | 森林公园 | 针叶林 | 竹林 | 蘑菇 | 小鹿 | 松鼠 |
            绿林 | 木头
        """,
        "city at night": """
            夜景 | 夜晚 | 夜里 | 晚上 | 深夜 | 夜色 | 夜空 | 城市 | 都市 | 大都市 | 高楼 | 大楼 | 大厦 | 摩天大楼 |
            楼房 | 建筑 | 灯光 | 灯火 | 霓虹灯 | 路灯 | 窗户的灯 | 亮灯 | 亮着灯 | 月亮 | 月光 | 月色 | 纽约 |
            上海夜景 | 香港 | 东京 | 北京的夜 | 市中心 | 街道 | 夜生活 | 不夜城 | 黑夜 | 万家灯火 | 天际线 | 公寓 |
            午夜 | 繁华都市
        """,
        "desert": """
            沙漠 | 沙丘 | 沙子 | 黄沙 | 沙地 | 仙人掌 | 撒哈拉 | 骆驼 | 绿洲 | 干旱 | 干燥 | 荒漠 | 荒野 | 戈壁 |
            炎热 | 酷热 | 沙尘暴 | 荒凉 | 缺水 | 没有水 | 一望无际的沙 | 埃及 | 敦煌 | 塔克拉玛干 | 热浪 | 口渴 |
            海市蜃楼 | 蝎子 | 带刺的植物 | 沙海 | 大漠 | 驼队 | 丝绸之路 | 干裂的土地 | 烈日 | 不毛之地 | 满是沙 |
            沙山
        """,
    },
}
SCENE_WORDS: Final = {
    code: {scene: split_phrases(text) for scene, text in scenes.items()} for code, scenes in _PHRASES.items()
}
