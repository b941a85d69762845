"""
A network of hosts and NATs in one process, and one in the kernel.
"""
