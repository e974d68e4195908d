"""What is in the topics?"""
