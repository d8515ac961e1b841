# Everything is done by a script in build/, which can also be run by itself.
# Logs and built programs go to out/ and target/.

PREFIX ?= /usr/local
DESTDIR ?=
MAKEFLAGS += --no-print-directory

.PHONY: help
help:
	@echo 'make demo                  build, and run a container that describes itself'
	@echo 'make release               static binaries in out/bin'
	@echo 'make test                  format, lints, docs, tests, conformance (installs what it needs)'
	@echo 'make test-vm               conformance on pure cgroup v2 in a VM, as root and as a user'
	@echo 'make test-engines          Podman, buildah, Docker and containerd on coracle (3 GB, root)'
	@echo 'make test-engines-vm       Docker and Podman with systemd and cgroup v2, also for a user, in a VM'
	@echo 'make bench                 side by side with the runtimes and shims that are installed'
	@echo 'make bench-cgroups         cgroups beside the bare calls and the crate cgroups-rs'
	@echo 'make install               to $$(DESTDIR)$$(PREFIX) (PREFIX=/usr/local)'
	@echo 'make deb                   a Debian package in out/'
	@echo 'make tarball               a tarball with the static programs in out/'
	@echo 'make clean                 remove target/ and out/'

.PHONY: demo release test test-vm test-engines test-engines-vm bench bench-cgroups install deb tarball clean
demo:
	@build/demo

release:
	@build/release

test:
	@build/test

test-vm:
	@build/test-vm

test-engines:
	@build/test-engines

test-engines-vm:
	@build/test-engines-vm

bench:
	@build/bench

bench-cgroups:
	@build/bench-cgroups

# Installs what `make release` built, so that `sudo make install` does not compile as root.
install:
	@test -x out/bin/coracle || { echo 'run make release first' >&2; exit 1; }
	build/tree '$(DESTDIR)$(PREFIX)'

deb tarball:
	@build/release coracle-cli containerd-shim-coracle-v2
	@build/package $@

clean:
	rm -rf target out
