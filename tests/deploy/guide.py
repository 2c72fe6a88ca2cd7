"""What docs/operate.md tells a reader to type."""

import re

from tests.support.paths import ROOT

PAGE = (ROOT / "docs/operate.md").read_text()


def blocks_below(heading: str) -> list[str]:
    """Return the shell blocks below a heading, up to the next one."""
    [section] = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", _without_blocks_comments(), re.M | re.S)
    return [block.replace("\0", "#") for block in re.findall(r"```sh\n(.*?)```", section, re.S)]


def _without_blocks_comments() -> str:
    """Hide the signs that begin a comment in a shell block, and would look like headings."""
    return re.sub(r"```sh\n.*?```", lambda block: block[0].replace("#", "\0"), PAGE, flags=re.S)


def packages() -> list[str]:
    [listed] = re.findall(r"^apt-get install -y (.+)$", PAGE, re.M)
    return str(listed).split()
