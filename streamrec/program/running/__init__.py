"""What runs, where, and how is it set?"""
