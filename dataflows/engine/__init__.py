"""What do we know of Bytewax?"""
