"""Output formats: the same stream of documents and impacts, as each engine loads it.

    writer = FORMATS["qdrant"].open(vocabulary, FormatSettings())
    for ids, impacts in chunks:
        file.write(writer.add(ids, impacts))
    file.writelines(writer.finish())

A format refuses a document that its engine would refuse, cut or drop, in one line that names document and rule;
nothing is renamed or left out silently.
"""

from lexlip_infer.formats.contract import Format, FormatSettings, FormatWriter
from lexlip_infer.formats.registry import FORMATS

__all__ = ["FORMATS", "Format", "FormatSettings", "FormatWriter"]
