# Rules for executables: `include $(shell pyox makefile)`, behind these variables.
#
#   APP.app = what is collected, as pyox-collect takes it: it becomes the executable APP
#   PYOX_DIST = the Python to embed, as pyox-fetch takes it; PYOX_LINK = further options of pyox-link
#   PYOX_BUILD = the folder for what is in between
#
# An executable is made again when one of its sources has changed, has come or has gone.

PYOX_DIST ?= host
PYOX_BUILD ?= build
PYOX_APPS := $(patsubst %.app,%,$(filter %.app,$(.VARIABLES)))

.PHONY: pyox-apps
pyox-apps: $(PYOX_APPS)

$(PYOX_APPS): %: $(PYOX_BUILD)/%.blob
	pyox-link $< $(PYOX_LINK) -o $@

$(PYOX_APPS:%=$(PYOX_BUILD)/%.blob): %.blob: %.json
	pyox-pack $< -o $@

$(PYOX_APPS:%=$(PYOX_BUILD)/%.json): $(PYOX_BUILD)/%.json: $(PYOX_BUILD)/dist.json
	pyox-collect -d $< $($*.app) -o $@ --depfile $(@:.json=.d)

$(PYOX_BUILD)/dist.json:
	@mkdir -p $(@D)
	pyox-fetch $(PYOX_DIST) -o $@

-include $(PYOX_APPS:%=$(PYOX_BUILD)/%.d)
