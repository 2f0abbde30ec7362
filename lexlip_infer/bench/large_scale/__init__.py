"""The large-scale experiment: a test collection among any number of distractors, every search engine side by side.

What LexLIP claims is that sparse vectors are searched faster and stored smaller than dense ones. Here all engines get
the same documents and queries, on one machine and in one run, each in processes of its own, so that time and memory
are its own. `running.run_experiment` does all of it; the report is made of `results.json` alone.

Nothing is imported here: a process that searches would carry the encoder in its memory, and so in its figures.
"""
