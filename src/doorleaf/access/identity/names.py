"""Names of accounts with email and password: which may be one, so that none looks like another.

Single scripts and mixtures are judged as "Highly Restrictive" of Unicode Technical Standard 39, section 5.2, with the
script of a letter taken from its name.

The table of look-alikes is here because no library decides what is asked. PRECIS (RFC 8265, ``precis-i18n``) leaves
look-alikes to whoever keeps the names. ``confusable-homoglyphs`` finds a word dangerous only when it mixes scripts, and
any letter confusable that looks like one of another script, most of Latin and Cyrillic; what it could give is its data,
of which this is the part that counts.
"""

from __future__ import annotations

import re
import unicodedata

from doorleaf.errors import RequestError

LONGEST = 254
_USER_ID = re.compile(r"[0-9a-fA-F]{24}")
_ODD = frozenset('<>()[]\\,;:"')
_LABELS = re.compile(r"[.@+_-]|\d+")
_TOGETHER = (
    frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
)
"""Scripts that one word may have letters of together."""
_LATIN_LOOKS = frozenset(
    "ЅІЈАВЕКМНОРСТУХЬавекмнорстухѕіјѡѴѵғҮүһҽӀӏԁԌԍԛԜԝꙇ"
    "ͿΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγηικνορτυχωϜϲϳϺᴦ"
    "ՍՏՕագզհոռսցքօ"
    "ᎠᎡᎢᎥᎩᎪᎫᎬᎳᎷᎻᎽᏀᏂᏃᏏᏒᏔᏕᏙᏚᏞᏟᏢᏦᏧᏳᏴꭵꮁꮃꮓꮩꮪꮯ"
    "ⲅⲎⲒⲔⲘⲚⲞⲟⲢⲣⲤⲥⲦⲨⲬⳐ"
    "ᐯᑌᑭᑯᑲᒍᒪᕁᕼᕽᖇᖯᖴᗅᗞᗪᗰᗷ"
    "𑜆𑜊𑜎𑜏ꛟ𐊠𐊡𐊢𐊥𐊫𐊰𐊱𐊲𐊴𐋏𐐄𐐕𐐛𐐠𐐬𐐽𐑈𐔓𐔖𐔘𐔜𐔝𐔥𐔦𐔧ሀዐყჿꓐꓑꓒꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴ"
    "𐊂𐊆𐊇𐊊𐊐𐊒𐊕𐊖𐊗ഠ𖼈𖼊𖼖𖼨𖼵𖼺𖽀𖽂𖽃ဝ𐌁𐌂𐌉𐌑𐌕𐌗ଠ𐒴𐓂𐓎𐓪𐓶ᚷᛁᛕᛖⴸⴹⵏⵔⵕⵝ𑢠𑢢𑢣𑢤𑢦𑢩𑢮𑢲𑢵𑢸𑢼𑣀𑣁𑣂𑣃𑣄𑣈𑣗"
    "𑣘𑣜"
)
"""Letters of other scripts that look like a Latin one; a word of nothing else is taken for a Latin word.

Those that Unicode's ``confusables.txt`` gives one letter from A to z, but Cyrillic ge and Greek sigma, of which too
many words are; and small letters that look like a capital.
"""


def check_name(name: str, *, address: bool) -> None:
    """BadRequest unless ``name`` can be an account's: an address, or without ``address`` a user name too.

    There are no blanks or control characters, and nothing that looks like another name: compatibility forms such as
    full-width letters, words that mix scripts, and words of other scripts that could be read as Latin ones. A user
    name is no user id, which commands would take it for.
    """
    local, at, domain = name.rpartition("@")
    if at:
        fits = local and "@" not in local and domain and "." not in (domain[:1], domain[-1:])
    else:
        fits = not address and name and _USER_ID.fullmatch(name) is None
    odd = any(character in _ODD or not character.isprintable() or character.isspace() for character in name)
    if not fits or odd or len(name) > LONGEST or unicodedata.normalize("NFKC", name) != name or not _is_plain(name):
        raise RequestError("email invalid")


def _is_plain(name: str) -> bool:
    return name.isascii() or all(_is_of_one_script(word) for word in _LABELS.split(name) if word)


def _is_of_one_script(word: str) -> bool:
    scripts = {unicodedata.name(character, "").split(" ")[0] for character in word if not character.isascii()}
    if any(character.isascii() and character.isalpha() for character in word):
        scripts.add("LATIN")
    if scripts & {"", "COMBINING", "MODIFIER", "MATHEMATICAL"}:
        return False
    if len(scripts) > 1:
        return any(scripts <= together for together in _TOGETHER)
    return scripts == {"LATIN"} or (not _LATIN_LOOKS.issuperset(word) and not _LATIN_LOOKS.issuperset(word.lower()))
