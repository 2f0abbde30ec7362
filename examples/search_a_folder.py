"""Search a folder of photographs by words: python examples/search_a_folder.py FOLDER "a dog on the beach"."""

import sys

from lexlip_infer import Index

folder, words = sys.argv[1:]
with Index.from_images(folder) as index:
    for hit in index.search(words, k=5):
        print(hit.rank, hit.score, hit.path, *(term for term, _ in hit.terms[:3]))
