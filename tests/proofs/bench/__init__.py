"""How fast the program is, measured against what the wire and the disk allow."""
