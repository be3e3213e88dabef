"""Categories that questions ask for by name, and the words that state them: sports, parties, genres, ...

Questions such as `What sport is she associated with?` are answered by common nouns, often by a related word (`a
quarterback`). Each entry is `canonical: further words`; an entry without a colon stands for itself. Written for this
project from general knowledge, by someone who had seen RAMDocs questions (the categories are those that they ask for);
nothing is copied from a data set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from core.text import stem

_ENTRIES = {
    "sport": """
        football: footballer footballers soccer fifa uefa | american football: quarterback linebacker nfl
        cornerback gridiron touchdown | australian football: afl vfl | baseball: pitcher outfielder mlb
        shortstop baseman catcher | basketball: nba wnba | ice hockey: nhl goaltender | field hockey | hockey |
        cricket: cricketer batsman wicketkeeper | rugby union | rugby league | rugby | tennis: wta atp | table
        tennis | golf: golfer pga lpga | boxing: boxer | wrestling: wrestler wwe | sumo: sumo wrestling | judo:
        judoka | karate | taekwondo | fencing: fencer | swimming: swimmer | diving: diver | rowing: rower |
        sailing: sailor | canoeing: canoeist | cycling: cyclist | athletics: sprinter hurdler | running: runner
        marathon | middle-distance running | gymnastics: gymnast | skiing: skier | snowboarding: snowboarder |
        skating: skater | figure skating | speed skating | curling: curler | biathlon: biathlete | bobsleigh |
        luge | volleyball | beach volleyball | handball | water polo | polo | lacrosse | netball | softball |
        badminton | squash | darts | snooker | billiards | chess | bowling: bowler | archery: archer | shooting
        | weightlifting: weightlifter | powerlifting: powerlifter | bodybuilding | triathlon: triathlete |
        equestrian | horse racing: jockey | motor racing: nascar formula driver racing | bmx | motocross |
        surfing: surfer | skateboarding: skateboarder | mixed martial arts: mma ufc | hurling: hurler | gaelic
        football | kabaddi | climbing: climber | pentathlon | decathlon | esports
    """,
    "party": """
        republican: republicans gop | democratic: democrat democrats | labour: labor | conservative:
        conservatives tory tories | liberal: liberals | green: greens | libertarian | socialist | communist |
        whig | federalist | populist | progressive | nationalist | independent | christian democratic | social
        democratic | reform | fianna fail | fine gael | congress | bharatiya janata | national party | new
        democratic | bloc | know nothing | free soil | farmer labor
    """,
    "ideology": """
        conservative: conservatism | liberal: liberalism | socialist: socialism | national socialist: nazi
        neo-nazi | communist: communism marxist | fascist: fascism neo-fascist | nationalist: nationalism |
        social democracy: social-democratic | green politics: environmentalist | right-wing | left-wing |
        centrist: centrism | populist: populism | libertarian: libertarianism | anarchist: anarchism | christian
        democracy | republicanism | monarchist: monarchism
    """,
    "language": """
        english | french | german | spanish | italian | portuguese | dutch | danish | swedish | norwegian |
        finnish | icelandic | estonian | latvian | lithuanian | polish | czech | slovak | hungarian | romanian |
        bulgarian | serbian | croatian | slovene | bosnian | albanian | macedonian | greek | turkish | russian |
        ukrainian | belarusian | georgian | armenian | azerbaijani | arabic | hebrew | persian: farsi | kurdish
        | pashto | urdu | hindi | bengali: bangla | punjabi | marathi | gujarati | tamil | telugu | kannada |
        malayalam | odia: oriya | assamese | nepali | sinhala | burmese | thai | khmer | lao | vietnamese |
        malay | indonesian | tagalog: filipino | chinese: mandarin cantonese | japanese | korean | mongolian |
        tibetan | swahili | hausa | yoruba | igbo | amharic | somali | zulu | xhosa | afrikaans | latin | welsh
        | irish | gaelic | breton | basque | catalan | galician | maltese | yiddish | esperanto | hawaiian |
        maori | samoan | bhojpuri | konkani | sanskrit
    """,
    "genre": """
        comedy: comedic | drama | romantic comedy: rom-com | romance: romantic | thriller | gangster: crime |
        horror | action | adventure | western | science fiction: sci-fi | fantasy | mystery | film noir: noir |
        musical | documentary | animation: animated cartoon | war | biographical: biopic | erotic | caper: heist
        | satire: satirical | parody | period: historical | silent | short | family | superhero | martial arts |
        rock | pop | jazz | blues | soul | funk | disco | reggae | country | folk | hip hop: hip-hop rap rapper
        | r&b | electronic: techno house | metal: heavy death | punk | indie | alternative | classical | opera |
        gospel | hardcore | ambient | electronica | latin | world music | new age | brawler | role-playing |
        platform | puzzle | strategy | reality | sitcom | soap opera: telenovela | game show | talk show | news
        | sports | top 40: chr | adult contemporary | oldies | spanish | religious: christian | novel: fiction |
        poetry | nature
    """,
    "profession": """
        actor: actress | author: writer novelist | journalist: reporter | poet: poetry | politician: congressman
        senator mayor governor minister representative | lawyer: attorney barrister solicitor | judge: jurist
        justice | physician: doctor surgeon | nurse | scientist | physicist: physics | chemist: chemistry |
        biologist: biology zoologist | mathematician: mathematics | astronomer | botanist | naturalist |
        geologist | anatomist | engineer | inventor | architect | landscape architect | painter: artist |
        sculptor | photographer | illustrator: cartoonist | designer | game designer | fashion designer |
        singer: vocalist songwriter | musician: guitarist drummer pianist violinist bassist | composer |
        conductor | rapper | dancer: choreographer | comedian | director: filmmaker | producer | screenwriter |
        playwright: dramatist | broadcaster: presenter | model | chef: cook | businessman: entrepreneur
        executive businesswoman | banker | economist | philosopher | historian | theologian | psychologist |
        sociologist | archaeologist | linguist | teacher: educator | professor: academic lecturer | instructor |
        priest: clergyman minister vicar | bishop | cardinal | chaplain | rabbi | missionary | soldier: officer
        general | admiral | sailor | pilot: aviator | astronaut | explorer | farmer | merchant | carpenter |
        footballer: football | cricketer: cricket | basketball: basketballer | baseball | tennis | golfer |
        boxer | wrestler | swimmer | cyclist | fencer | triathlete | runner | skater | skier | volleyball |
        badminton | rower | racing driver | coach | athlete | publisher | editor | critic | translator |
        librarian | diplomat | activist | criminal: murderer gangster | spy | detective | magician
    """,
    "medium": """
        film: movie motion picture | short film | silent film | play | musical | novel | short story | poem |
        poetry | book | comic: manga | magazine | newspaper | album | single | song | ep | band: group | opera |
        ballet | symphony | television series: tv sitcom | telenovela | radio | documentary | video game | board
        game | card game | game | software | website | painting: paintings | sculpture | architecture |
        photography | theatre: theater | ship | horse: filly colt mare | aircraft: airplane | railway: rail
        train | motorway: road highway | language | people: tribe ethnic | place: village town | river |
        mountain | church | school | academy | university | college | secondary school | company | restaurant |
        museum | zoo | plant | animal | anthem | slogan | disease | currency | dance | district | mine | house:
        building | military: base
    """,
    "position": """
        quarterback | linebacker | running back | wide receiver | tight end | cornerback | safety | defensive
        end | defensive tackle | offensive tackle | guard | center | kicker | punter | goalkeeper | defender |
        fullback | defensive midfielder | midfielder | winger | forward | striker | wing half | half back |
        pitcher | catcher | shortstop | outfielder | baseman | point guard | shooting guard | small forward |
        power forward | goaltender | prop | hooker | flanker | lock | fly-half | scrum-half
    """,
    "rank": """
        private | corporal | sergeant | lieutenant | second lieutenant | first lieutenant | captain | major |
        lieutenant colonel | colonel | brigadier general | brigadier | major general | lieutenant general |
        general | field marshal | ensign | lieutenant commander | commander | commodore | rear admiral | vice
        admiral | admiral | fleet admiral | midshipman
    """,
    "instrument": """
        tabla | sitar | sarod | violin: violinist | viola | cello: cellist | bass: bassist | guitar: guitarist |
        piano: pianist | drums: drummer percussion | flute: flautist | clarinet | saxophone: saxophonist |
        trumpet: trumpeter | trombone | horn | tuba | oboe | bassoon | harp | organ | accordion | banjo |
        mandolin | harmonica | keyboard | lute | vocals: voice
    """,
    "colour": """
        red | orange | yellow | green | blue | purple | violet | pink | brown | black | white | grey: gray |
        gold: golden | silver | cream | olive | maroon | beige
    """,
    "style": """
        baroque | gothic | gothic revival | romanesque | romanesque revival | renaissance | renaissance revival
        | neoclassical: classical | greek revival | colonial | colonial revival | georgian | federal | victorian
        | queen anne | italianate | second empire | art deco | art nouveau | modernist: modern modernism |
        brutalist | craftsman | bungalow | prairie | beaux-arts | tudor | tudor revival | mission | first period
        | arts and crafts | byzantine
    """,
    "religion": """
        catholic: catholicism | protestant | anglican | orthodox | lutheran | methodist | baptist | presbyterian
        | islam: muslim sunni shia | judaism: jewish | hindu: hinduism | buddhist: buddhism | sikh: sikhism |
        christian
    """,
    "licence": """
        mit | apache | bsd | gpl | lgpl | agpl | mpl | isc | cc0 | unlicense | proprietary | public domain
    """,
    "gender": """
        boys: boy male men | girls: girl female women all-girls | coeducational: co-educational mixed coed
    """,
}
"""What each category knows: canonical values and the words that state them."""

_PLACES = """
    alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho illinois
    indiana iowa kansas kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri
    montana nebraska nevada ohio oklahoma oregon pennsylvania tennessee texas utah vermont virginia washington
    wisconsin wyoming ontario quebec alberta manitoba saskatchewan newfoundland victoria queensland tasmania england
    scotland wales ireland britain france germany spain italy portugal netherlands belgium switzerland austria
    denmark sweden norway finland iceland poland hungary romania bulgaria serbia croatia slovenia slovakia greece
    turkey russia ukraine belarus lithuania latvia estonia georgia armenia azerbaijan iran iraq syria israel jordan
    lebanon egypt libya tunisia algeria morocco sudan ethiopia kenya uganda tanzania nigeria ghana senegal cameroon
    angola zambia zimbabwe botswana namibia mozambique madagascar india pakistan bangladesh nepal bhutan afghanistan
    china japan korea mongolia taiwan vietnam laos cambodia thailand malaysia singapore indonesia philippines
    myanmar australia canada mexico guatemala honduras nicaragua panama cuba jamaica haiti brazil argentina chile
    peru bolivia paraguay uruguay colombia venezuela ecuador guyana usa uk london paris berlin madrid rome boston
    chicago york jersey hampshire carolina dakota mexico
"""
PLACES = frozenset(stem(word) for word in _PLACES.split())
"""Stems of names of states, countries and large cities: a name that has one of them is likely a place."""

_ASKED = tuple(
    (re.compile(pattern), names)
    for pattern, names in (
        (r"(?i)\bsports?\b", ("sport",)),
        (r"(?i)\bparty\b", ("party",)),
        (r"(?i)\bideology\b", ("ideology", "party")),
        (r"(?i)\blanguages?\b", ("language",)),
        (r"(?i)\bgenre\b", ("genre", "medium")),
        (r"(?i)\b(?:profession|occupation|job|career|known for|work as)\b", ("profession", "medium")),
        (r"(?i)\bposition\b", ("position",)),
        (r"(?i)\brank\b", ("rank",)),
        (r"(?i)\binstruments?\b", ("instrument",)),
        (r"(?i)\bcolou?rs?\b", ("colour",)),
        (r"(?i)\bstyle\b", ("style",)),
        (r"(?i)\breligion\b", ("religion",)),
        (r"(?i)\blicen[cs]ed?\b", ("licence",)),
        (r"(?i)\bgender\b", ("gender",)),
        (r"(?i)\b(?:format|medium|type|kind|function|category)\b", ("medium", "genre")),
        (r"\brefers? to\b|^[Ww]hat (?:is|was|are) (?:the )?[\"“A-Z]", ("medium", "profession")),
    )
)
"""Which categories a question's wording asks for; the first pattern that fits decides."""


def asked_categories(question: str) -> tuple[str, ...]:
    """The categories that a question asks for, most likely first; empty where it asks for none of them."""
    return next((names for pattern, names in _ASKED if pattern.search(question)), ())


def _compiled() -> Mapping[tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]:
    found: dict[tuple[str, ...], list[tuple[str, tuple[str, ...]]]] = {}
    for category, block in _ENTRIES.items():
        for entry in block.split("|"):
            canonical, _, others = entry.partition(":")
            key = tuple(stem(word) for word in canonical.split())
            for form in (key, *((stem(word),) for word in others.split())):
                entries = found.setdefault(form, [])
                if (category, key) not in entries:
                    entries.append((category, key))
    return MappingProxyType({form: tuple(entries) for form, entries in found.items()})


CATEGORY_WORDS = _compiled()
"""For each form (a tuple of stems): the categories it belongs to and the canonical stems there."""
LONGEST_FORM = max(map(len, CATEGORY_WORDS))
