# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Downloads from Debian with an apt configuration of our own in the cache: the system's sources, lists and archives are
# neither read nor changed (its proxy settings hold). To be sourced after lib.sh.
#
#   apt_lists                make sure that the package lists are there; apt_lists_new fetches them now
#   apt_lists_fresh          the same unless they are of today; a failure is only a warning as long as there are old
#                            ones
#   apt_private CMD ARG...   run apt-get or apt-cache CMD with our configuration
#   apt_versions PKG         versions on offer, newest first: "version sha256"
#   apt_package PKG VER DIR  download PKG_VER_*.deb into DIR

_apt_dir=$VPMU_CACHE/apt
_apt_keyring=/usr/share/keyrings/debian-archive-keyring.gpg
_apt_mirror=${VPMU_MIRROR:-http://deb.debian.org}

_apt_config()
{
	local want sources

	command -v apt-get >/dev/null || die "there is no apt here: Debian 12 or 13 is needed for downloads" \
		"give LINUX_SRC=<tree or tarball>; ./vpmu setup --help tells where other files go"
	# Debian 12's first keyrings do not know Debian 13.
	for want in "$_apt_keyring" /usr/share/keyrings/debian-archive-trixie-stable.gpg \
		/usr/share/keyrings/debian-archive-bookworm-stable.gpg; do
		[[ -e $want || -e ${want%.gpg}.pgp ]] || die "$want is missing: cannot check what Debian signs" \
			"apt-get install debian-archive-keyring (the newest; ./vpmu setup does so)"
	done
	[[ -e $_apt_keyring ]] || _apt_keyring=${_apt_keyring%.gpg}.pgp

	mkdir -p "$_apt_dir"/{etc,parts,lists/partial,archives/partial}
	printf -v sources '%s [signed-by='"$_apt_keyring"'] '"$_apt_mirror"'/%s main\n' \
		deb 'debian trixie' \
		deb 'debian trixie-updates' \
		deb 'debian-security trixie-security' \
		deb 'debian-security bookworm-security' \
		deb 'debian bookworm-backports' \
		deb-src 'debian trixie'
	if [[ $sources != "$(cat "$_apt_dir/etc/sources.list" 2>/dev/null)"$'\n' ]]; then
		rm -f "$_apt_dir/stamp"
		printf '%s' "$sources" >"$_apt_dir/etc/sources.list"
	fi
	cat >"$_apt_dir/etc/apt.conf" <<-END
		Dir::Etc::sourcelist "$_apt_dir/etc/sources.list";
		Dir::Etc::sourceparts "$_apt_dir/parts";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "$_apt_dir/parts";
		Dir::State::Lists "$_apt_dir/lists";
		Dir::Cache::archives "$_apt_dir/archives";
		Dir::Cache::pkgcache "";
		Dir::Cache::srcpkgcache "";
		Acquire::Languages "none";
		Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
		Acquire::Retries "3";
		Acquire::http::Timeout "30";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		APT::Sandbox::User "";
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
	END
}

apt_private()
{
	local tool=$1

	shift
	show_cmd "$tool" -c "$_apt_dir/etc/apt.conf" "$@"
	"$tool" -c "$_apt_dir/etc/apt.conf" "$@"
}

_apt_update() { apt_private apt-get -q update -o APT::Update::Error-Mode=any; }

apt_lists()
{
	lock apt
	_apt_config
	if [[ ! -e $_apt_dir/stamp ]]; then
		try apt-update _apt_update ||
			die "cannot fetch the package lists of $_apt_mirror (log: $VPMU_LOG/apt-update.log)" \
				"without a network: see ./vpmu setup --help for what to put where by hand"
		touch "$_apt_dir/stamp"
	fi
	unlock apt
}

apt_lists_new()
{
	rm -f "$_apt_dir/stamp"
	apt_lists
}

apt_lists_fresh()
{
	[[ -e $_apt_dir/stamp ]] || { apt_lists; return; }
	[[ -n $(find "$_apt_dir/stamp" -mmin +1440) ]] || return 0
	if _apt_config && _apt_update >/dev/null 2>&1; then
		touch "$_apt_dir/stamp"
	else
		warn "cannot fetch new package lists: working with those of $(date -r "$_apt_dir/stamp" '+%F %R')"
	fi
}

apt_versions()
{
	apt_private apt-cache show "$1" 2>/dev/null | awk '
		/^Version: / { v = $2 }
		/^SHA256: / { if (v != "" && !(v in seen)) { print v, $2; seen[v] = 1 } v = "" }
	' | sort -r -V
}

apt_package() { (cd "$3" && apt_private apt-get -q download "$1=$2"); }
