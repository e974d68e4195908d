"""What failed, how is it kept and put back?"""
