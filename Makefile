# Builds, shows, checks, measures and installs magicmirror.
#
#   make                the three programs, optimised, in .build/release
#   make demo           a Prometheus asked through relay and agent; KEEP=1 leaves it running
#   make check          every test and lint; or one group: check-lint, -tsan, -e2e, -fuzz, -demo
#   make check-unit     the unit tests as they are; `make check` runs them under both sanitizers
#   make check-asan     unit and end-to-end tests under the address sanitizer, leaks too
#   make check-faults   100 kills of each program under load, and bad networks; KILLS=N; as root
#   make check-real     real applications behind it: JupyterLab in Chromium, websockets (250 MB)
#   make fuzz           every parser, 60 s each; SECONDS=N, TARGETS='chunked keys'
#   make format         lays out the sources as the lint wants them
#   make bench          speed against nginx; or two builds against each other: A=dir B=dir
#   make bench-slow     memory and latency beside thousands of slow clients; CONNECTIONS=N
#   make install        under $(DESTDIR)$(prefix)
#
# Needs Swift 6.2 or newer on the PATH; `demo`, `check` and `bench` install the rest with apt.

SWIFT ?= swift
prefix ?= /usr/local
INSTALL ?= install

# The Swift runtime is linked in, so that the programs need OpenSSL and the C runtime only.
release = -c release --static-swift-stdlib --disable-local-rpath -Xlinker -z -Xlinker now
programs = .build/release

needs_build = libssl-dev pkg-config
needs_demo = $(needs_build) ca-certificates curl prometheus
needs_check = $(needs_demo) git gzip haproxy iproute2 libnss-wrapper mandoc nginx-light openssl \
    python3 strace tinyproxy
needs_real = $(needs_demo) chromium chromium-driver openssl python3 python3-venv
needs_bench = $(needs_build) nginx-light openssl python3 wrk

export SWIFT

all: build

build:
	$(SWIFT) build $(release)

demo:
	@Tests/Checks/install-needs $(needs_demo)
	@$(MAKE) --no-print-directory build
	@KEEP='$(KEEP)' Tests/Checks/demo $(programs)

check:
	@Tests/Checks/install-needs $(needs_check)
	@Tests/Checks/run lint asan tsan e2e fuzz demo

check-lint check-unit check-tsan check-e2e check-fuzz check-demo:
	@Tests/Checks/install-needs $(needs_check)
	@Tests/Checks/run $(@:check-%=%)

check-faults:
	@Tests/Checks/install-needs $(needs_check)
	@KILLS='$(KILLS)' Tests/Checks/run faults

check-asan:
	@Tests/Checks/install-needs $(needs_check)
	@Tests/Checks/run asan asan-e2e

fuzz:
	@Tests/Fuzz/run $(or $(SECONDS),60) $(TARGETS)

check-real:
	@Tests/Checks/install-needs $(needs_real)
	@$(MAKE) --no-print-directory build
	@Tests/Real/run $(programs)

format:
	$(SWIFT) format --in-place --recursive Sources Tests Package.swift

bench:
	@Tests/Checks/install-needs $(needs_bench)
ifndef A
	@$(MAKE) --no-print-directory build
endif
	@Tests/Benchmarks/bench $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	    $(or $(A),$(programs)) $(B)

bench-slow:
	@Tests/Checks/install-needs $(needs_bench)
	@$(MAKE) --no-print-directory build
	@Tests/Benchmarks/slow $(if $(CONNECTIONS),--connections $(CONNECTIONS)) $(programs)

install:
	$(INSTALL) -d $(DESTDIR)$(prefix)/bin $(DESTDIR)$(prefix)/sbin
	$(INSTALL) -s $(programs)/magicmirror $(DESTDIR)$(prefix)/bin
	$(INSTALL) -s $(programs)/magicmirrord $(programs)/magicmirrorctl $(DESTDIR)$(prefix)/sbin
	for page in man/*.[1-8]; do \
	    directory=$(DESTDIR)$(prefix)/share/man/man$${page##*.}; \
	    $(INSTALL) -d $$directory && $(INSTALL) -m 644 $$page $$directory || exit 1; \
	done
	$(INSTALL) -d $(DESTDIR)$(prefix)/share/doc/magicmirror/examples
	$(INSTALL) -m 644 packaging/examples/*.conf $(DESTDIR)$(prefix)/share/doc/magicmirror/examples
	$(INSTALL) -m 644 README.md NEWS.md SECURITY.md $(DESTDIR)$(prefix)/share/doc/magicmirror

clean:
	rm -rf .build

.PHONY: all build demo check check-lint check-unit check-tsan check-asan check-e2e check-fuzz \
    check-demo check-faults check-real fuzz format bench bench-slow install clean
