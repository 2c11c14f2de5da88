"""`notifyd` whose daemon gives answers to LXC within a second or not at all, instead of 25.

python hurried.py serve --config FILE
"""

import sys
from functools import partial

from notifyd.cli import main
from notifyd.intake import protocols
from notifyd.intake.lxc import serve_lxc

if __name__ == "__main__":
    protocols.serve_lxc = partial(serve_lxc, answer_within=1.0)
    main(sys.argv[1:])
