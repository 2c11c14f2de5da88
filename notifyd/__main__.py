"""`python -m notifyd`."""

import os
import sys

# Python puts the current folder first, where anybody may have put modules: nothing of ours is there
# unless we ourselves are.
if sys.path and sys.path[0] == os.getcwd() != os.path.dirname(os.path.dirname(__file__)):
    del sys.path[0]

from notifyd.cli import main

if __name__ == "__main__":
    main()
