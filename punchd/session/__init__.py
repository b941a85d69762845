"""
One encrypted session with one peer, over whichever path is current.
"""
