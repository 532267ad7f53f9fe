"""What counts as a word of a text, for letters with spaces between words, and for those without.

Letters and digits that follow each other are a word, in lower case, and Latin ones without accents; no language's
endings are taken off, for titles are of any. Chinese and Japanese have no spaces to go by, and Korean's stand between
more than words. So each of their characters is a word, and each two that follow each other are one more: such pairs
find what a dictionary of words would, and need none (Lucene's CJKBigramFilter makes them, too). Full-width and other
forms of a letter are the letter itself (NFKC). Thai, Lao, Khmer and Burmese are cut at spaces alone.
"""

from __future__ import annotations

import re
import unicodedata

import tantivy

from pagoda.index.base import MOST_WORDS

_CJK = (
    "\u2e80-\u2fdf\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Ideographs, kana and Hangul; of the marks between them those that belong to a word."""
_FIRST_CJK = "\u2e80"
_ONE = re.compile(f"([{_CJK}])")
_WORD = rf"[{_CJK}]+|[\p{{L}}\p{{M}}\p{{N}}--[{_CJK}]]+"
_LONGEST_BYTES = 100
"""Of a word; a longer one is none that anybody looks for."""


def _analyzer() -> tantivy.TextAnalyzer:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(_WORD))
    for one in (tantivy.Filter.remove_long(_LONGEST_BYTES), tantivy.Filter.lowercase(), tantivy.Filter.ascii_fold()):
        builder = builder.filter(one)
    return builder.build()


ANALYZER = _analyzer()
"""Cuts what `spread` gives into words."""


def spread(text: str) -> str:
    """A text in which spaces divide all words: 红裙子 as 红 红 红裙 裙 裙子 子 子."""
    return _ONE.sub(r"\1 \1 \1", unicodedata.normalize("NFKC", text))


def words_of(text: str) -> list[str]:
    """The first words of what is looked for, each once: of a character that is in a pair, the pair alone."""
    words = list(dict.fromkeys(ANALYZER.analyze(spread(text))))
    paired = {character for word in words if len(word) > 1 and word >= _FIRST_CJK for character in word}
    return [word for word in words if len(word) > 1 or word not in paired][:MOST_WORDS]


def spaced(text: str) -> str:
    """All words of an item's text in their order, spaces between, for those who count them by themselves."""
    return " ".join(ANALYZER.analyze(spread(text)))
