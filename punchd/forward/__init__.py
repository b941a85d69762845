"""
Ports of ours that lead to services of peers, and back.
"""
