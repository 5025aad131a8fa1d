"""Numbers from a microsecond to the age of the universe, as text that one reads at a glance."""

SCALES = (("trillion", 1e12), ("billion", 1e9), ("million", 1e6))
UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
TIMES = (
    ("year", 365.25 * 86_400),
    ("day", 86_400),
    ("hour", 3600),
    ("minute", 60),
    ("second", 1),
    ("ms", 1e-3),
    ("µs", 1e-6),
    ("ns", 1e-9),
)


def count(number: float) -> str:
    """Return a count in words.

    >>> count(7170), count(15.6e12), count(3.14e23)
    ('7,170', '15.6 trillion', '3.14e23')
    """
    if number >= 999.5e12:
        return f"{number:.2e}".replace("e+", "e")
    return _scaled(number, SCALES) or f"{number:,.0f}"


def times(ratio: float) -> str:
    """Return how many times as large something is.

    >>> times(0.969), times(29_685), times(160_073_092.6)
    ('0.969 times', '29,685 times', '160 million times')
    """
    return f"{count(ratio) if ratio >= 999.5 else _three_digits(ratio)} times"


def size(number: float) -> str:
    """Return bytes in decimal units: a kB is 1,000 of them.

    >>> size(64), size(16_768), size(1.342e12)
    ('64 bytes', '16.8 kB', '1.34 TB')
    """
    return _scaled(number, UNITS) or f"{number:,.0f} bytes"


def duration(seconds: float) -> str:
    """Return a time in the largest unit that it fills.

    >>> duration(60), duration(4.2e-7), duration(6.78e6), duration(1e20)
    ('1 minute', '420 ns', '78.5 days', '3.17 trillion years')
    """
    unit, length = next((t for t in TIMES if seconds >= 0.9995 * t[1]), TIMES[-1])
    many = seconds / length
    text = count(many) if many >= 999.5 else _three_digits(many)
    return f"{text} {unit}{'s' if len(unit) > 2 and text != '1' else ''}"


def _scaled(number: float, scales: tuple[tuple[str, float], ...]) -> str | None:
    for name, scale in scales:
        if number >= 0.9995 * scale:
            return f"{_three_digits(number / scale)} {name}"
    return None


def _three_digits(number: float) -> str:
    return f"{number:.3g}" if number < 999.5 else f"{number:,.0f}"
