"""
The main job on a stage: two hosts behind two NATs talk through a hole.

A stage is where it happens, kernel namespaces or the simulator; the play is the
same on both, and what is told of it comes from the logs of what runs there.
"""
