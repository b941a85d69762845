"""
Three plugins for punchd.
"""
