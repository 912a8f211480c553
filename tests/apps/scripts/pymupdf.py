"""Writes a document, by HTML and fonts too, and reads it."""
import pymupdf

document = pymupdf.open()
page = document.new_page()
page.insert_text((72, 72), "A heading", fontsize=18)
page.insert_htmlbox((72, 100, 400, 300), "<p>größer, <b>bold</b> and <i>slanted</i></p>")
document.save("out.pdf")
again = pymupdf.open("out.pdf")
print(again.page_count, again[0].get_text().split())
print(sorted({font[3] for font in again.get_page_fonts(0)}))
print(again[0].get_pixmap(dpi=36).width, [table.row_count for table in again[0].find_tables()])
