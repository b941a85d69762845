"""
Options and makers of the C{twistd} commands.
"""
