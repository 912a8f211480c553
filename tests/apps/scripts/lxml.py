"""XPath, XSLT and HTML."""
from lxml import etree, html

tree = etree.fromstring("<r><a n='1'>x</a><a n='2'>y</a></r>")
print(tree.xpath("//a[@n > 1]/text()"))
sheet = etree.XSLT(etree.XML(
    '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
    '<xsl:template match="/"><o><xsl:value-of select="count(//a)"/></o></xsl:template></xsl:stylesheet>'
))
print(str(sheet(tree)))
print([link for *_, link, _ in html.fromstring("<p><a href='/x'>l</a>").iterlinks()])
