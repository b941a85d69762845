"""
What peers say to each other through the rendezvous.
"""
