"""What does every dataflow stand on?"""
