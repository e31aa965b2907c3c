"""What a pass says to people and programs: text and JSON.

Results go to stdout, all else to stderr.
"""
