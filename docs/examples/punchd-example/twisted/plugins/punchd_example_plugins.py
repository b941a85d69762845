"""
What Twisted finds of this package.  There is no __init__.py beside this file, and
every twistd on the machine loads it: it imports nothing heavy.
"""

from punchd_example.admission import Hours
from punchd_example.predictor import Repeating
from punchd_example.socks import Socks

hours = Hours()
repeating = Repeating()
socks = Socks()
