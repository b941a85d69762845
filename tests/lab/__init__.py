"""
Tests in network namespaces, behind the kernel's own NATs.
"""
