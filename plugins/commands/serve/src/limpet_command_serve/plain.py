"""What clients say, in lines for people: no line ends, and nothing a terminal would obey."""

from __future__ import annotations


def plain(text: str) -> str:
    """The text with everything that is not printable as `\\xNN`."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
