# How tests/fuzz/run builds the fuzzer: beside the configured build, in $(OUT), with clang and flags
# of its own. Its variables come from there.
OBJECTS = $(patsubst %.c,$(OUT)/%.o,$(filter %.c,$(SOURCES)))

$(OUT)/fuzz: $(OBJECTS)
	$(CLANG) $(FLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $(OBJECTS) $(LIBS)

$(OUT)/%.o: $(SRCDIR)/%.c config.h
	@mkdir -p $(@D)
	$(CLANG) -std=gnu11 $(FLAGS) -fsanitize=fuzzer-no-link $(CPPFLAGS) $(CFLAGS) -MMD -c -o $@ $<

-include $(OBJECTS:.o=.d)
