"""
The loop, the sockets and the demultiplexer between the core and Twisted.
"""
