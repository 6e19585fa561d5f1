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
#   make bench-agents   what connected agents cost a relay; AGENTS=N
#   make install        under $(DESTDIR)$(prefix); -strip without what debuggers need; uninstall
#   make deb            packages for Debian, and their source, in .build/deb
#   make check-deb      the packages as they should be: builds them twice
#   make check-system   the packages on a Debian that is booted, from install to purge; as root
#
# Needs Swift 6.2 or newer on the PATH; `demo`, `check` and `bench` install the rest with apt.

SWIFT ?= swift

# The Swift runtime is linked in, so that the programs need OpenSSL and the C runtime only.
release = -c release --static-swift-stdlib --disable-local-rpath -Xlinker -z -Xlinker now $(placeless)
# The same sources give the same programs, wherever they are built: paths begin at this directory;
# neither those of the module cache are noted, nor hashes that come of them.
frontend = -Xswiftc -Xfrontend -Xswiftc
placeless = -Xswiftc -file-prefix-map -Xswiftc $(CURDIR)=. -Xcc -ffile-prefix-map=$(CURDIR)=. \
    $(frontend) -no-clang-module-breadcrumbs $(frontend) -disable-incremental-llvm-codegen
programs = .build/release

# The names of the GNU coding standards. Wherever the programs are, they look for their files in
# /etc/magicmirror and /var/lib/magicmirrord.
prefix = /usr/local
exec_prefix = $(prefix)
bindir = $(exec_prefix)/bin
sbindir = $(exec_prefix)/sbin
sysconfdir = /etc
datarootdir = $(prefix)/share
datadir = $(datarootdir)
docdir = $(datarootdir)/doc/magicmirror
mandir = $(datarootdir)/man
bashcompletiondir = $(datadir)/bash-completion/completions
zshcompletiondir = $(datadir)/zsh/site-functions
fishcompletiondir = $(datadir)/fish/vendor_completions.d
systemunitdir = $(prefix)/lib/systemd/system
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
INSTALL = install
INSTALL_PROGRAM = $(INSTALL)
INSTALL_DATA = $(INSTALL) -m 644

needs_build = libssl-dev pkg-config
needs_demo = $(needs_build) ca-certificates curl prometheus
needs_check = $(needs_demo) caddy fish git gzip haproxy iproute2 libnss-wrapper mandoc \
    nginx-light openssl python3 strace systemd tinyproxy zsh
needs_deb = $(needs_build) debhelper dpkg-dev git
needs_system = $(needs_deb) debootstrap procps python3 systemd-container
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

check-deb:
	@Tests/Checks/install-needs $(needs_deb) lintian
	@$(MAKE) --no-print-directory deb
	@Tests/Checks/run packages

check-system:
	@Tests/Checks/install-needs $(needs_system)
	@$(MAKE) --no-print-directory deb
	@Tests/System/run .build/deb

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

bench-agents:
	@Tests/Checks/install-needs $(needs_bench)
	@$(MAKE) --no-print-directory build
	@Tests/Benchmarks/agents $(if $(AGENTS),--agents $(AGENTS)) $(programs)

# put FILES, DIRECTORY
define put
	$(INSTALL) -d $(DESTDIR)$(2)
	$(INSTALL_DATA) $(1) $(DESTDIR)$(2)

endef

# magicmirrorctl is magicmirrord by another name: the Swift runtime, most of either, is there once.
install:
	@test -x $(programs)/magicmirrord || { echo "install: 'make' comes first" >&2; exit 1; }
	$(INSTALL) -d $(addprefix $(DESTDIR),$(bindir) $(sbindir) $(sysconfdir)/magicmirror)
	$(INSTALL_PROGRAM) $(programs)/magicmirror $(DESTDIR)$(bindir)
	$(INSTALL_PROGRAM) $(programs)/magicmirrord $(DESTDIR)$(sbindir)
	ln -sf magicmirrord $(DESTDIR)$(sbindir)/magicmirrorctl
	$(foreach section,1 5 7 8,$(call put,man/*.$(section),$(mandir)/man$(section)))
	$(call put,README.md NEWS.md ARCHITECTURE.md SECURITY.md,$(docdir))
	$(call put,packaging/examples/*,$(docdir)/examples)
	$(call put,packaging/completions/bash/*,$(bashcompletiondir))
	$(call put,packaging/completions/zsh/*,$(zshcompletiondir))
	$(call put,packaging/completions/fish/*,$(fishcompletiondir))
	$(call put,packaging/systemd/*.service packaging/systemd/*.socket,$(systemunitdir))
	sed -i 's,/usr/bin/,$(bindir)/,; s,/usr/sbin/,$(sbindir)/,' \
	    $(DESTDIR)$(systemunitdir)/magicmirror*.service
	$(call put,packaging/systemd/sysusers.d/*,$(sysusersdir))
	$(call put,packaging/systemd/tmpfiles.d/*,$(tmpfilesdir))

install-strip:
	$(MAKE) install INSTALL_PROGRAM='$(INSTALL_PROGRAM) -s'

# Takes away what `install` with the same variables would put there, and leaves directories.
uninstall:
	list=$$(mktemp -d) && trap 'rm -rf "$$list"' EXIT \
	    && $(MAKE) install DESTDIR="$$list" >/dev/null \
	    && (cd "$$list" && find . ! -type d -print0) | (cd $(DESTDIR)/ && xargs -0 rm -f)

# The source package is this tree with debian/ at its top. What was built there before stays, so
# that only what has changed is built again.
stage = .build/deb/magicmirror
deb:
	@Tests/Checks/install-needs $(needs_deb)
	mkdir -p $(stage)
	find $(stage) -mindepth 1 -maxdepth 1 ! -name .build -exec rm -rf {} +
	rm -f .build/deb/magicmirror*_*
	git ls-files --cached --others --exclude-standard -z | xargs -0 cp -p --parents -t $(stage)
	mv $(stage)/packaging/debian $(stage)
	cd $(stage) && dpkg-buildpackage --unsigned-source --unsigned-changes --build=full --no-pre-clean

clean:
	rm -rf .build

.PHONY: all build demo check check-lint check-unit check-tsan check-asan check-e2e check-fuzz \
    check-demo check-faults check-real check-deb check-system fuzz format bench bench-slow \
    bench-agents install install-strip uninstall deb clean
