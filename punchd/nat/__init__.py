"""
What can be known of the NATs between us and the world, from packets alone.
"""
