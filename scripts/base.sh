# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The pristine sources that the patches apply to, as commits in bare repositories of the cache. To be sourced after
# lib.sh.
#
#   base_get linux|bochs     makes sure that the base is there; sets BASE_COMMIT and BASE_NAME (for messages)
#   base_store linux|bochs   prints the repository that holds it
#   $PATCHSET                scripts/patchset
#   base_linux_version VER SHA256   a certain linux-source-6.12 of apt; sets the same
#   series_mails REPO BASE TIP DIR  the commits BASE..TIP as mails with a cover letter in DIR; prints their number
#
# A base's commit has no parent and fixed dates: its id depends on the content alone. A ref names it only when it is
# whole.

# shellcheck source=scripts/apt.sh
. "$VPMU_ROOT/scripts/apt.sh"

BOCHS_PACKAGE=bochs=3.0+dfsg-1
BOCHS_TAR=bochs_3.0+dfsg.orig.tar.xz
BOCHS_SHA256=78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b
LINUX_PACKAGE=linux-source-6.12
LINUX_SERIES=6.12

export BASE_COMMIT='' BASE_NAME=''
_base_dl=$VPMU_CACHE/download
export PATCHSET=$VPMU_ROOT/scripts/patchset

base_store() { printf '%s\n' "$VPMU_CACHE/git/$1.git"; }

_store_git() { GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null git -C "$(base_store "$1")" "${@:2}"; }

_store_init() { git init -q --bare "$1" && git -C "$1" config gc.auto 0 && git -C "$1" config core.compression 1; }

# $1 set, $2 tree, $3 subject, $4 ref: commit it and set the ref
_base_commit()
{
	local commit

	commit=$(printf '%s\n' "$3" | GIT_AUTHOR_NAME=upstream GIT_AUTHOR_EMAIL=upstream GIT_COMMITTER_NAME=upstream \
		GIT_COMMITTER_EMAIL=upstream GIT_AUTHOR_DATE='1731801600 +0000' GIT_COMMITTER_DATE='1731801600 +0000' \
		_store_git "$1" commit-tree "$2")
	_store_git "$1" update-ref "refs/base/$4" "$commit"
}

# $1 tree: "6.12.117", from the Makefile; dies unless it is of our series
_linux_release()
{
	local v

	v=$(_store_git linux show "$1:Makefile" 2>/dev/null |
		awk '/^(VERSION|PATCHLEVEL|SUBLEVEL) = / { s = s d $3; d = "." } END { print s }') || true
	[[ $v == "$LINUX_SERIES" || $v == "$LINUX_SERIES".* ]] ||
		die "${2:-this source} is Linux ${v:-?}, the patches are for $LINUX_SERIES" \
			"give a $LINUX_SERIES.y tree or tarball with LINUX_SRC="
	printf '%s\n' "$v"
}

# $1 set, $2 archive, $3 ref
_import_tar()
{
	local set=$1 file=$2 ref=$3 tree subject

	set -o pipefail
	case $file in
	*.deb) tree=$(dpkg-deb --fsys-tarfile "$file" | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		xz -dc -T2 | python3 "$PATCHSET" tar "$(base_store "$set")") ;;
	*.tar.xz | *.txz) tree=$(xz -dc -T2 "$file" | python3 "$PATCHSET" tar "$(base_store "$set")") ;;
	*.tar.gz | *.tgz) tree=$(gzip -dc "$file" | python3 "$PATCHSET" tar "$(base_store "$set")") ;;
	*.tar.zst) tree=$(zstd -dc "$file" | python3 "$PATCHSET" tar "$(base_store "$set")") ;;
	*.tar) tree=$(python3 "$PATCHSET" tar "$(base_store "$set")" <"$file") ;;
	*) die "$file: expected a .tar, .tar.xz, .tar.gz, .tar.zst or .deb" ;;
	esac
	if [[ $set == linux ]]; then
		subject="Linux $(_linux_release "$tree" "$file")"
	else
		subject="Bochs 3.0"
	fi
	_base_commit "$set" "$tree" "$subject" "$ref"
}

_base_ref() { _store_git "$1" rev-parse -q --verify "refs/base/$2^{commit}" 2>/dev/null; }

# $1 set, $2 ref: read the ref into BASE_COMMIT
_base_have() { BASE_COMMIT=$(_base_ref "$1" "$2"); }

# Once the objects are in the repository, the archive is of no more use.
base_linux_version()
{
	local ver=$1 sum=$2 dir

	BASE_NAME="$LINUX_PACKAGE $ver"
	! _base_have linux "$sum" || return 0
	lock store-linux
	if ! _base_have linux "$sum"; then
		dir=$(mktemp -d "$VPMU_CACHE/download.XXXXXX")
		on_exit rm -rf -- "$dir"
		info "[$(elapsed)]   downloading $BASE_NAME (150 MB)"
		try "download-$LINUX_PACKAGE" apt_package "$LINUX_PACKAGE" "$ver" "$dir" ||
			die "cannot download $BASE_NAME (log: $VPMU_LOG/download-$LINUX_PACKAGE.log)" \
				"fetch ${LINUX_PACKAGE}_${ver}_all.deb by hand into $_base_dl, or give LINUX_SRC=<tree, tarball>"
		info "[$(elapsed)]   unpacking $BASE_NAME"
		run "unpack-$LINUX_PACKAGE" _import_tar linux "$dir"/*.deb "$sum"
		rm -rf -- "$dir"
		_base_have linux "$sum"
	fi
	unlock store-linux
}

_note() { printf '%s\n' "$1" >"$2"; }

# The version that this cache stays with until `./vpmu setup --update`.
_base_linux_newest()
{
	local ver sum file

	if [[ -e $VPMU_CACHE/linux-base ]] && read -r ver sum <"$VPMU_CACHE/linux-base" && _base_have linux "$sum"; then
		BASE_NAME="$LINUX_PACKAGE $ver"
		return 0
	fi
	# Fetched by hand?
	mkdir -p "$_base_dl"
	file=$(find "$_base_dl" -maxdepth 1 -name "${LINUX_PACKAGE}_*_all.deb" | sort -V | tail -n 1)
	if [[ -n $file ]]; then
		sum=$(sha256sum "$file" | cut -d ' ' -f 1)
		ver=${file##*/"${LINUX_PACKAGE}"_}
		ver=${ver%_all.deb}
		BASE_NAME="$LINUX_PACKAGE $ver"
		lock store-linux
		if ! _base_have linux "$sum"; then
			info "[$(elapsed)]   unpacking $BASE_NAME"
			hint "is $file whole? Remove it to have it downloaded"
			run "unpack-$LINUX_PACKAGE" _import_tar linux "$file" "$sum"
			_base_have linux "$sum"
		fi
		unlock store-linux
	else
		apt_lists
		read -r ver sum < <(apt_versions "$LINUX_PACKAGE") || true
		[[ -n ${sum-} ]] || die "apt offers no $LINUX_PACKAGE" \
			"./vpmu setup --update; or fetch ${LINUX_PACKAGE}_*_all.deb by hand into $_base_dl"
		base_linux_version "$ver" "$sum"
	fi
	publish_file "$VPMU_CACHE/linux-base" _note "$ver $sum"
}

_import_git()
{
	local src=$1 ref=$2 tree

	tree=$(git -c safe.directory='*' -C "$src" rev-parse 'HEAD^{tree}')
	printf '%s\n' "$tree" | git -c safe.directory='*' -c pack.window=0 -c core.compression=1 \
		-C "$src" pack-objects -q --revs --stdout |
		_store_git linux index-pack --stdin
	_base_commit linux "$tree" "Linux $(_linux_release "$tree" "$src")" "$ref"
}

_import_dir()
{
	local src=$1 ref=$2 index=$3 tree store

	store=$(base_store linux)
	GIT_INDEX_FILE=$index git --git-dir="$store" -c core.bare=false -c core.autocrlf=false --work-tree="$src" \
		add -A -f .
	tree=$(GIT_INDEX_FILE=$index _store_git linux write-tree)
	_base_commit linux "$tree" "Linux $(_linux_release "$tree" "$src")" "$ref"
}

_base_linux_src()
{
	local src=$LINUX_SRC top sum id

	[[ -e $src ]] || die "LINUX_SRC=$src does not exist"
	src=$(readlink -f "$src")
	BASE_NAME="LINUX_SRC=$src"
	lock store-linux
	if [[ -f $src ]]; then
		sum=$(sha256sum "$src" | cut -d ' ' -f 1)
		if ! _base_have linux "$sum"; then
			info "[$(elapsed)]   unpacking $src"
			hint "LINUX_SRC must be a tarball (or linux-source .deb) of Linux $LINUX_SERIES.y"
			run unpack-linux-src _import_tar linux "$src" "$sum"
			_base_have linux "$sum"
		fi
	else
		[[ -f $src/Makefile && -d $src/arch/x86/kvm ]] || die "LINUX_SRC=$src is no kernel tree"
		top=$(git -c safe.directory='*' -C "$src" rev-parse --show-toplevel 2>/dev/null) || top=
		if [[ -n $top && $(readlink -f "$top") == "$src" ]]; then
			[[ -z $(git -c safe.directory='*' -C "$src" status --porcelain --untracked-files=no) ]] ||
				die "LINUX_SRC=$src has changes that are not committed" "commit or stash them"
			id=git-$(git -c safe.directory='*' -C "$src" rev-parse 'HEAD^{tree}')
			if ! _base_have linux "$id"; then
				info "[$(elapsed)]   reading $src"
				run read-linux-src _import_git "$src" "$id"
				_base_have linux "$id"
			fi
		else
			[[ ! -e $src/.config && ! -d $src/include/generated ]] ||
				die "LINUX_SRC=$src was configured or built in: not pristine" "make -C $src mrproper"
			id=$(printf '%s' "$src" | sha256sum | cut -c 1-16)
			info "[$(elapsed)]   reading $src"
			run read-linux-src _import_dir "$src" "dir-$id" "$VPMU_CACHE/git/linux-dir-$id.index"
			_base_have linux "dir-$id"
		fi
	fi
	unlock store-linux
}

_bochs_download()
{
	(
		cd "$1" || exit
		# A mirror may lack the .dsc: the tarball alone is enough.
		apt_private apt-get -q source --tar-only --download-only "$BOCHS_PACKAGE" || true
		[[ -f $BOCHS_TAR ]]
	)
}

_base_bochs()
{
	local file=$_base_dl/$BOCHS_TAR dir sum manual

	BASE_NAME="Bochs 3.0"
	! _base_have bochs "$BOCHS_SHA256" || return 0
	mkdir -p "$_base_dl"
	lock store-bochs
	manual="fetch $BOCHS_TAR (Debian source package bochs 3.0+dfsg-1, sha256 $BOCHS_SHA256) by hand into $_base_dl"
	if ! _base_have bochs "$BOCHS_SHA256"; then
		if [[ ! -f $file ]]; then
			apt_lists
			dir=$(mktemp -d "$VPMU_CACHE/download.XXXXXX")
			on_exit rm -rf -- "$dir"
			info "[$(elapsed)]   downloading $BASE_NAME (4 MB)"
			try download-bochs _bochs_download "$dir" ||
				die "cannot download $BASE_NAME (log: $VPMU_LOG/download-bochs.log)" "$manual"
			mv -T -- "$dir/$BOCHS_TAR" "$file"
		fi
		sum=$(sha256sum "$file" | cut -d ' ' -f 1)
		[[ $sum == "$BOCHS_SHA256" ]] ||
			die "$file has sha256 $sum, not $BOCHS_SHA256" "remove it; $manual"
		run unpack-bochs _import_tar bochs "$file" "$BOCHS_SHA256"
		_base_have bochs "$BOCHS_SHA256"
	fi
	unlock store-bochs
}

base_get()
{
	local set=$1 store

	store=$(base_store "$set")
	publish "$store" _store_init
	if [[ $set == bochs ]]; then
		_base_bochs
	elif [[ -n ${LINUX_SRC-} ]]; then
		_base_linux_src
	else
		_base_linux_newest
	fi
}

series_mails()
{
	python3 "$PATCHSET" mails "$VPMU_ROOT" "$1" "$2" "$(git -C "$1" rev-parse "$3")" "$4" \
		"$VPMU_ROOT/patches/cover-letter.txt" --prefix "$LINUX_SERIES"
}
