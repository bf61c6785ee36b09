"""Invented names of roads and sites in Chinese and English, ordinary on purpose.

No name is that of a real installation or of a person.
"""

from typing import Final

Name = tuple[str, str]
"""A name in Chinese and in English."""

EAST_WEST: Final[tuple[Name, ...]] = (
    ("人民路", "Renmin Road"),
    ("解放路", "Jiefang Road"),
    ("建设路", "Jianshe Road"),
    ("民主路", "Minzhu Road"),
    ("丰收路", "Fengshou Road"),
    ("世纪路", "Shiji Road"),
    ("太行路", "Taihang Road"),
    ("南海路", "Nanhai Road"),
    ("龙源路", "Longyuan Road"),
    ("和平路", "Heping Road"),
    ("工业路", "Gongye Road"),
    ("影视路", "Yingshi Road"),
    ("文昌路", "Wenchang Road"),
    ("长恩路", "Chang'en Road"),
    ("映湖路", "Yinghu Road"),
    ("碧莲路", "Bilian Road"),
    ("神州路", "Shenzhou Road"),
)
"""Streets of the core that run east-west, from south to north."""

NORTH_SOUTH: Final[tuple[Name, ...]] = (
    ("焦西街", "Jiaoxi Street"),
    ("瓮涧街", "Wengjian Street"),
    ("西环街", "Xihuan Street"),
    ("牧野街", "Muye Street"),
    ("学生街", "Xuesheng Street"),
    ("站前街", "Zhanqian Street"),
    ("新华街", "Xinhua Street"),
    ("塔南街", "Tanan Street"),
    ("友谊街", "Youyi Street"),
    ("胜利街", "Shengli Street"),
    ("青年街", "Qingnian Street"),
    ("花园街", "Huayuan Street"),
    ("普济街", "Puji Street"),
    ("焦东街", "Jiaodong Street"),
    ("山阳街", "Shanyang Street"),
    ("文汇街", "Wenhui Street"),
    ("中原街", "Zhongyuan Street"),
    ("岭南街", "Lingnan Street"),
    ("光明街", "Guangming Street"),
    ("东苑街", "Dongyuan Street"),
    ("月季街", "Yueji Street"),
)
"""Streets of the core that run north-south, from west to east."""

_AVENUES: Final = (
    "迎宾 Yingbin,怀府 Huaifu,南水 Nanshui,焦武 Jiaowu,焦温 Jiaowen,焦修 Jiaoxiu,焦博 Jiaobo,"
    "焦云 Jiaoyun,覃怀 Qinhuai,沁河 Qinhe,丹河 Danhe,黄河 Huanghe,云台 Yuntai,青龙 Qinglong,"
    "凤凰 Fenghuang,白马 Baima,金山 Jinshan,银河 Yinhe,翠微 Cuiwei,圆融 Yuanrong,朝阳 Chaoyang,"
    "东海 Donghai,西湖 Xihu,北山 Beishan,春晓 Chunxiao,秋实 Qiushi,清风 Qingfeng,明月 Mingyue,"
    "林海 Linhai,群英 Qunying,演武 Yanwu,中兴 Zhongxing,泰安 Tai'an,永和 Yonghe,常平 Changping,"
    "安阳 Anyang,吉祥 Jixiang,如意 Ruyi,同心 Tongxin,兴业 Xingye,星河 Xinghe,松林 Songlin,"
    "竹苑 Zhuyuan,梅园 Meiyuan,兰亭 Lanting,桂香 Guixiang,荷塘 Hetang"
)
AVENUES: Final[tuple[Name, ...]] = tuple(
    (f"{zh}大道", f"{en} Avenue") for zh, en in (word.split(" ") for word in _AVENUES.split(","))
)
"""Arterials that leave the core."""

_TREES = (
    "柳 Liu",
    "槐 Huai",
    "枣 Zao",
    "杏 Xing",
    "桃 Tao",
    "梨 Li",
    "桑 Sang",
    "松 Song",
    "柏 Bai",
    "石 Shi",
    "土 Tu",
    "沙 Sha",
    "泉 Quan",
    "龙 Long",
    "凤 Feng",
)
_SETTLEMENTS = ("庄 zhuang", "村 cun", "营 ying", "屯 tun", "寨 zhai", "桥 qiao")
VILLAGE_ROADS: Final[tuple[Name, ...]] = tuple(
    (f"{tree[0]}{suffix[0]}路", f"{tree[1]}{suffix[1]} Road")
    for suffix in (word.split(" ") for word in _SETTLEMENTS)
    for tree in (word.split(" ") for word in _TREES)
)
"""County roads that leave the city, ninety of them."""

SITES: Final[tuple[Name, ...]] = (
    ("火车站", "Railway Station"),
    ("高铁站", "High-speed Railway Station"),
    ("长途汽车站", "Coach Station"),
    ("体育中心", "Sports Centre"),
    ("图书馆", "Library"),
    ("博物馆", "Museum"),
    ("会展中心", "Exhibition Centre"),
    ("市民广场", "Citizens' Square"),
    ("月季公园", "Rose Park"),
    ("中心医院", "Central Hospital"),
    ("大剧院", "Grand Theatre"),
    ("步行街", "Pedestrian Street"),
    ("农贸市场", "Farmers' Market"),
    ("商业中心", "Shopping Centre"),
    ("政务服务大厅", "Public Service Hall"),
    ("学院南门", "College South Gate"),
    ("影视城广场", "Film City Square"),
)
"""Key sites of the core, seventeen of them."""
