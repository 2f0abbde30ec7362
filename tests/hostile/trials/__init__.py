"""Trials with damaged folders: what is whole, what is done to it, what a user does with it, and what must hold then."""
