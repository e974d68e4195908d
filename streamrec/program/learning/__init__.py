"""What is learned, and how good is it?"""
