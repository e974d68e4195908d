"""What does a box of the picture do?"""
