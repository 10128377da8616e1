#!/bin/sh
# Lists, verifies and restores the backups below the folder in which this file stands. RESTORE.txt beside it tells all about them.
#
# Needs a POSIX shell, tar, what the tarballs are compressed with (zstd or gzip), sha256sum, sha512sum or md5sum, and awk, date,
# find, ls, mv, rm, tr; for what is encrypted, age, and to see who made that, ssh-keygen, base64 and sed. Nothing is written below this folder. No text of a sidecar is ever executed, no link below this folder
# followed, and no name reaches the terminal as it is where it would steer it.
set -u

LC_ALL=C
export LC_ALL
unset IFS CDPATH TAR_OPTIONS GZIP ZSTD_NBTHREADS ZSTD_CLEVEL TAPE POSIXLY_CORRECT GREP_OPTIONS QUOTING_STYLE secret
umask 077
folders=$PATH: absolute='' # programs of the current folder are anybody's
while [ -n "$folders" ]; do
    case $folders in /*) absolute=${absolute:+$absolute:}${folders%%:*} ;; esac
    folders=${folders#*:}
done
PATH=${absolute:-/usr/sbin:/usr/bin:/sbin:/bin}

newline='
'
blank=$(printf ' \t\r')$newline
unreadable=
temporary=
needed=

usage() {
    cat <<'END'
Usage: sh restore.sh list                          show what is here; reads no tarball
       sh restore.sh verify [ITEM]                 read all tarballs, or those of one item, and compare them with their dna
       sh restore.sh restore [--identity FILE] [--signed-by FILE] [--special-modes] [--numeric] ITEM DEST [STAMP]
                                                   unpack an item as the new folder DEST

ITEM   as list shows it, like dayabay/svn/dybsvn
DEST   where the item is to be; it must not exist, the folder above it must
STAMP  which tarball: its date and time as list shows them, or a day like 2013/05/10, whose last one is taken.
       Without it, the newest verified one that is not dated later than this machine's clock.
       One that is later than where the link "last" of its item leads may be suspect: only its date and time bring it back.
--special-modes   also bring back what may make somebody root: setuid and setgid bits of files, file capabilities, devices and
       named pipes. Only for a backup whose source nobody else had in his hands.
--numeric         owners by number. Else root gives all of it to the users and groups of the names that the backup has, where this
       machine knows these, and by number where not.
--identity        the file with the key that opens what is encrypted (names that end in .age): of age, or a private one of ssh. One with
       a passphrase asks for it on the terminal.
--signed-by       the recovery sheet, or another file with a line "SOURCE ssh-ed25519 AAAA..." : nothing is restored then that this
       machine did not sign. Whoever knows to whom something is encrypted can make a file that opens: only the signature tells.

Exit status: 0 all is well, 1 something failed or there is nothing, 2 wrong usage.
END
}

say() {
    make_visible "$*"
    printf '%s\n' "$shown"
}

complain() {
    make_visible "$*"
    printf 'restore.sh: %s\n' "$shown" >&2
}

# Set shown to a text as one line that steers no terminal: bytes of what would, and of what is no UTF-8, stand as \\ooo.
make_visible() {
    shown=$1
    case $shown in *[!\ -~]*) ;; *) return 0 ;; esac
    if ! command -v awk >/dev/null 2>&1; then
        shown=$(printf %s "$1" | tr -c ' -~' '?')
        return 0
    fi
    shown=$(printf '%s\n' "$1" | awk '
        function more(first, count,   value, next_one) { # the letter of a first byte and those that follow, -1 if it is none
            value = first
            for (; count > 0; count--) {
                next_one = number[substr(text, ++end, 1)]
                if (next_one < 128 || next_one > 191) return -1
                value = value * 64 + next_one - 128
            }
            return value
        }
        function letter(code) {
            if (code < 128) return code
            if (code > 193 && code < 224) return more(code - 192, 1)
            if (code > 223 && code < 240) return (code = more(code - 224, 2)) < 2048 || code > 55295 && code < 57344 ? -1 : code
            if (code > 239 && code < 245) return (code = more(code - 240, 3)) < 65536 || code > 1114111 ? -1 : code
            return -1
        }
        function steers(code) {
            return code < 32 || code > 126 && code < 160 || code == 1564 || code == 8203 || code == 8206 || code == 8207 \
                || code > 8231 && code < 8239 || code > 8287 && code < 8304 || code == 65279 || code > 65528 && code < 65532 \
                || code > 917503 && code < 917632
        }
        BEGIN { for (i = 1; i < 256; i++) number[sprintf("%c", i)] = i }
        { text = text (NR > 1 ? "\n" : "") $0 }
        END {
            for (start = 1; start <= length(text); start = end + 1) {
                end = start
                code = letter(number[substr(text, start, 1)])
                if (code < 0) end = start
                if (!steers(code)) printf "%s", substr(text, start, end - start + 1)
                else for (i = start; i <= end; i++) printf "\\%03o", number[substr(text, i, 1)]
            }
        }')
}

fail() {
    complain "$@"
    exit 1
}

misused() {
    complain "$1"
    usage >&2
    exit 2
}

need() {
    command -v "$1" >/dev/null 2>&1 || fail "the program $1 is not installed here: install the package $2, then run this again"
}

# Remove the private folder, which is the current one.
clean_up() {
    [ -n "$temporary" ] || return 0
    chmod -R u+rwx . 2>/dev/null
    rm -rf ./*
    cd .. && rmdir "./$temporary"
    temporary=
}

# ---- What lies here

# Given a path, succeed if it is a folder, no link, and can be read; complain of one that cannot.
open_folder() {
    [ -d "$1" ] && [ ! -L "$1" ] || return 1
    [ -r "$1" ] && [ -x "$1" ] && return 0
    complain "$1 cannot be read by this user, uid $(id -u): become root, or the user who owns it"
    unreadable=yes
    return 1
}

# Given a name of what lies here, succeed and say so if it has a line break: then it is passed over.
is_no_name() {
    case $1 in *"$newline"*) ;; *) return 1 ;; esac
    complain "$1 is passed over: no backup has a line break in its name"
}

# Given a command, call it with each item.
each_item() {
    open_folder "$base/." || return 0
    for source in "$base"/*; do
        case $source in */lost+found) continue ;; esac
        is_no_name "${source#"$base/"}" && continue
        open_folder "$source" || continue
        for category in "$source"/*; do
            case $category in *LOCKED) continue ;; esac
            is_no_name "${category#"$base/"}" && continue
            open_folder "$category" || continue
            for name in "$category"/*; do
                is_no_name "${name#"$base/"}" && continue
                open_folder "$name" && "$1" "${name#"$base/"}"
            done
        done
    done
}

# Given a command and an item, call the command for each tarball, oldest first, with what is known of it in item, stamp, path,
# size (bytes), inode, state (verified, no dna, malformed, wrong size, no tarball, no full), dig, alg and base_dig.
each_tarball() {
    item=$2 fulls=' '
    for year in "$base/$item"/[0-9][0-9][0-9][0-9]; do
        open_folder "$year" || continue
        for month in "$year"/[0-9][0-9]; do
            open_folder "$month" || continue
            for day in "$month"/[0-9][0-9]; do
                open_folder "$day" || continue
                for clock in "$day"/[0-9][0-9][0-9][0-9][0-9][0-9]; do
                    open_folder "$clock" || continue
                    stamp=${clock#"$base/$item/"}
                    for path in "$clock"/*.tar "$clock"/*.tar.gz "$clock"/*.tar.zst \
                        "$clock"/*.tar.age "$clock"/*.tar.gz.age "$clock"/*.tar.zst.age "$clock"/*.dna; do
                        case $path in
                            *.dna)
                                is_file "$path" || continue
                                path=${path%.dna}
                                ! is_file "$path" || continue ;;
                            *) is_file "$path" || continue ;;
                        esac
                        is_no_name "${path#"$base/"}" && continue
                        inspect
                        "$1"
                    done
                done
            done
        done
    done
}

is_file() {
    [ -f "$1" ] && [ ! -L "$1" ]
}

# Find out size, inode and state of the tarball at path.
inspect() {
    size=0 inode='' dig='' alg='' base_dig=''
    if ! is_file "$path"; then
        state='no tarball'
    elif is_file "$path.dna"; then
        list_files "./${path##*/}" "./${path##*/}.dna"
        measure "${listed##*"$newline"}"
        length=$size
        measure "${listed%%"$newline"*}"
        if ! read_dna "$path.dna" "$length" || ! is_named_so; then
            state=malformed dig='' alg='' base_dig=''
        elif [ "$said" != "$size" ]; then
            state='wrong size'
        elif has_full; then
            state=verified
            [ -n "$base_dig" ] || fulls="$fulls$dig "
        else
            state='no full'
        fi
    else
        list_files "./${path##*/}"
        measure "$listed"
        state='no dna'
    fi
}

# Succeed if a tarball of an item has the name of a differential where its dna is that of one, and not otherwise.
is_named_so() {
    case ${path##*/} in "${item##*/}"*) ;; *) return 0 ;; esac
    ending=${path##*"/${item##*/}"}
    case ${ending%.age} in
        *.diff.tar | *.diff.tar.gz | *.diff.tar.zst) [ -n "$base_dig" ] ;;
        *) [ -z "$base_dig" ] ;;
    esac
}

# Succeed if what is at path is no differential, or its full tarball is here: those of the item that were seen before it are in fulls.
has_full() {
    [ -n "$base_dig" ] && [ -z "$needed" ] || return 0
    case $fulls in *" $base_dig "*) return 0 ;; esac
    (
        # shellcheck disable=SC2030 # for what is called here alone
        needed=$base_dig there=''
        each_tarball note_full "$item" 2>/dev/null
        [ -n "$there" ]
    )
}

note_full() {
    # shellcheck disable=SC2031 # it is called there
    [ "$state" = verified ] && [ "$dig" = "$needed" ] && [ -z "$base_dig" ] || return 0
    there=yes
}

# Given names of files in the folder clock, in their order, set listed to the line of ls for each.
list_files() {
    listed=$(cd "$clock" && ls -lind "$@" 2>/dev/null)
}

# Given a line of ls (inode, mode, links, owner, group, size and more), set inode and size.
measure() {
    set -f
    # shellcheck disable=SC2086 # its fields
    set -- $1
    set +f
    inode=$1 size=$6
}

# Given the path of a sidecar and its size, set dig, said (size), alg and base_dig. Fail if it is no dna.
read_dna() {
    [ -r "$1" ] && [ "$2" -le 4096 ] || return 1
    text=''
    while IFS= read -r line; do
        text=$text$line$newline
    done <"$1"
    text=$text$line
    [ ${#text} -eq "$2" ] || return 1 # a shell leaves out NUL
    parse_dna
}

# The same, given the text: one mapping of quoted texts and numbers, as JSON or as Python writes them.
parse_dna() {
    dig='' said='' alg='' full='' base_dig=''
    skip_blanks
    text=${text%"${text##*[!"$blank"]}"}
    case $text in '{'*'}') ;; *) return 1 ;; esac
    text=${text#?}
    text=${text%?}
    while skip_blanks && [ -n "$text" ]; do
        take_text || return 1
        key=$token
        skip_blanks
        case $text in :*) text=${text#:} ;; *) return 1 ;; esac
        skip_blanks
        case $key in
            dig | alg | base | base_dig) take_text ;;
            size) take_number ;;
            *) return 1 ;;
        esac || return 1
        case $key in
            dig) [ -z "$dig" ] && dig=$token ;;
            alg) [ -z "$alg" ] && alg=$token ;;
            size) [ -z "$said" ] && said=$token ;;
            base) [ -z "$full" ] && full=$token ;;
            base_dig) [ -z "$base_dig" ] && base_dig=$token ;;
        esac || return 1
        skip_blanks
        case $text in ,*) text=${text#,} ;; ?*) return 1 ;; esac
    done
    alg=${alg:-md5}
    case $alg in md5) length=32 ;; sha256) length=64 ;; sha512) length=128 ;; *) return 1 ;; esac
    case $dig in *[!0-9A-Fa-f]*) return 1 ;; esac
    [ ${#dig} -eq "$length" ] && [ -n "$said" ] || return 1
    case $dig in *[A-F]*) dig=$(printf %s "$dig" | tr A-F a-f) ;; esac
    [ -n "$full$base_dig" ] || return 0
    case /$full/ in *//* | */./* | */../* | *'\u0000'*) return 1 ;; esac
    case $base_dig in *[!0-9A-Fa-f]*) return 1 ;; esac
    case ${#base_dig} in 32 | 64 | 128) ;; *) return 1 ;; esac
    case $base_dig in *[A-F]*) base_dig=$(printf %s "$base_dig" | tr A-F a-f) ;; esac
}

skip_blanks() {
    text=${text#"${text%%[!"$blank"]*}"}
}

# Take a quoted text that is not empty from the front of text into token, its escapes as they are.
take_text() {
    case $text in \"*) quote='"' ;; \'*) quote="'" ;; *) return 1 ;; esac
    text=${text#?}
    token=''
    while :; do
        case $text in *"$quote"*) ;; *) return 1 ;; esac
        token=$token${text%%"$quote"*}
        text=${text#*"$quote"}
        slashes=${token##*[!\\]}
        [ $((${#slashes} % 2)) -eq 1 ] || break
        token=$token$quote
    done
    case $quote$token in \'*\\* | *"$newline"*) return 1 ;; esac
    [ -n "$token" ]
}

# Take a whole number above 0, after which an L may stand, from the front of text into token.
take_number() {
    token=${text%%[!0-9]*}
    text=${text#"$token"}
    text=${text#L}
    case $token in '' | 0*) return 1 ;; esac
    [ ${#token} -le 19 ]
}

# Set now to the latest stamp that any clock on earth shows, by that of this machine: the time zone of the stamps is not known here.
read_clock() {
    now=$(TZ=UTC-14 date +%Y/%m/%d/%H%M%S 2>/dev/null)
    case $now in [0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]/[0-9][0-9][0-9][0-9][0-9][0-9]) return ;; esac
    now=9999/99/99/999999
    say 'the program date, of the package coreutils, does not tell the time: stamps of the future are not found out'
}

# Given an item, set last to the stamp that its link "last" names, which leads to none that is suspect; empty where there is none.
read_last() {
    last=''
    [ -L "$base/$1/last" ] || return 0
    listed=$(cd "$base/$1" && ls -ld ./last 2>/dev/null)
    case ${listed#*" ./last -> "} in
        [0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]/[0-9][0-9][0-9][0-9][0-9][0-9]) last=${listed#*" ./last -> "} ;;
    esac
}

# Succeed if the tarball of stamp is dated later than a stamp.
is_later_than() {
    later=$stamp
    earlier=$1
    while [ -n "$later" ]; do
        [ "1${later%%/*}" -eq "1${earlier%%/*}" ] || break
        case $later in */*) later=${later#*/} earlier=${earlier#*/} ;; *) return 1 ;; esac
    done
    [ "1${later%%/*}" -gt "1${earlier%%/*}" ]
}

is_beyond_last() {
    [ -n "$last" ] && is_later_than "$last"
}

# ---- list

list() {
    tarballs=0 verified=0 items=0 bytes=0 future=0 beyond=0
    read_clock
    each_item list_item
    make_readable "$bytes"
    say "$tarballs tarballs of $items items, $verified of them verified, $shown (* is the newest verified one of its item)"
    [ "$future" -eq 0 ] || complain "$future tarballs are dated later than the clock of this machine has it anywhere on earth, $now:" \
        "none of them is called the newest. If the clock is right, somebody may have put them there to be taken for it: do not trust them"
    [ "$beyond" -eq 0 ] || complain "$beyond tarballs are later than the link last of their item has it, and none of them is called the newest:" \
        "that link leads to none that is suspect, and these may be. None of them is restored unless its date and time are given as STAMP"
    [ -z "$unreadable" ] && [ "$tarballs" -gt 0 ]
}

list_item() {
    before=$tarballs held='' after=''
    read_last "$1"
    each_tarball list_tarball "$1"
    release '* '
    [ "$tarballs" -eq "$before" ] || items=$((items + 1))
}

# Show the tarballs of an item in their order; the last verified one is held until it is known to be the newest.
list_tarball() {
    if is_later_than "$now"; then
        future=$((future + 1))
        set_aside 'of the future'
    elif [ "$state" = verified ] && is_beyond_last; then
        beyond=$((beyond + 1))
        set_aside 'later than last'
    elif [ "$state" = verified ]; then
        release '  '
        held=$path held_stamp=$stamp held_size=$size
        verified=$((verified + 1))
    else
        after=$after$(show '  ' "$stamp" "$size" "$state" "$path")$newline
    fi
    tarballs=$((tarballs + 1)) bytes=$((bytes + size))
}

# Show the tarball, with a word on why it is not the newest, after the one that is held.
set_aside() {
    [ "$state" != verified ] || verified=$((verified + 1))
    after=$after$(show '  ' "$stamp" "$size" "$state" "$path")"  ($1)"$newline
}

release() {
    [ -z "$held" ] || show "$1" "$held_stamp" "$held_size" verified "$held"
    printf %s "$after"
    held='' after=''
}

show() {
    make_visible "${5##*/}"
    file=$shown
    make_readable "$3"
    amount=$shown
    make_visible "$item"
    printf '%s%-36s  %s  %10s  %-10s  %s\n' "$1" "$shown" "$2" "$amount" "$4" "$file"
}

# Set shown to a number of bytes in units of 1,024 with two digits: 1 byte, 999 bytes, 1.5 KiB, 42 MiB, 420 GiB.
make_readable() {
    case $1 in
        1) shown='1 byte' && return ;;
        ? | ?? | ???) shown="$1 bytes" && return ;;
    esac
    unit=1024 units='K M G T P'
    while [ $((($1 + unit / 2) / unit)) -ge 1000 ] && [ "$units" != P ]; do
        unit=$((unit * 1024)) units=${units#* }
    done
    # shellcheck disable=SC2017 # a product of large sizes would not fit
    if [ $(($1 / unit * 1000 + $1 % unit * 1000 / unit)) -lt 9995 ]; then
        tenths=$(($1 / unit * 10 + ($1 % unit * 10 + unit / 2) / unit))
        shown=$((tenths / 10)).$((tenths % 10))
    else
        shown=$((($1 + unit / 2) / unit))
    fi
    shown="$shown ${units%% *}iB"
}

# ---- verify

verify() {
    tarballs=0 bad=0
    if [ $# -gt 0 ]; then
        require_item "$1"
        verify_item "$item"
    else
        each_item verify_item
    fi
    say "$tarballs tarballs, $((tarballs - bad)) of them OK"
    [ -z "$unreadable" ] && [ "$tarballs" -gt 0 ] && [ "$bad" -eq 0 ]
}

verify_item() {
    seen=' '
    each_tarball verify_tarball "$1"
}

verify_tarball() {
    tarballs=$((tarballs + 1)) why='' verdict=OK
    case $state in
        verified) check_digest || verdict=BAD ;;
        'wrong size') verdict=BAD why="it has $size bytes, its dna says $said" ;;
        'no dna') verdict='NO DNA' ;;
        'no full') verdict='NO FULL' why='it is a differential, and its full tarball is not here, or not verified' ;;
        malformed) verdict=MALFORMED ;;
        *) verdict='NO TARBALL' ;;
    esac
    [ "$verdict" = OK ] || bad=$((bad + 1))
    make_visible "$item  $stamp  ${path##*/}${why:+  ($why)}"
    printf '%-10s  %s\n' "$verdict" "$shown"
}

# Succeed if the tarball at path is what its dna says; else say why not in why. One file under several stamps is read once.
check_digest() {
    case $seen in *" $inode:$alg:$dig "*) return 0 ;; esac
    digest "$path"
    if [ "$found" = "$dig" ]; then
        seen="$seen$inode:$alg:$dig "
    else
        why="its $alg is ${found:-not to be had}, its dna says $dig"
        return 1
    fi
}

# Given a path, set found to its digest by alg, empty where it cannot be read.
digest() {
    need "${alg}sum" coreutils
    found=$("${alg}sum" <"$1") || found=''
    found=${found%% *}
}

# ---- restore

# Given an item, also as list shows one whose name would steer the terminal, set item.
require_item() {
    item='' asked=$1
    case /$1/ in
        *//* | */.*) ;;
        /*/*/*/*/) ;;
        /*/*/*/) open_folder "$base/${1%%/*}" && open_folder "$base/${1%/*}" && open_folder "$base/$1" && item=$1 ;;
    esac
    [ -n "$item" ] || case $asked in *\\[0-3][0-7][0-7]*) each_item match_item ;; esac
    [ -n "$item" ] || fail "there is no item $asked here: sh restore.sh list shows all"
}

match_item() {
    make_visible "$1"
    [ "$shown" != "$asked" ] || item=$1
}

restore() {
    require_item "$1"
    wanted=${3:-}
    while case $wanted in */) ;; *) false ;; esac; do wanted=${wanted%/}; done
    find_place "$2"
    chosen='' passed='' beyond='' doubtful=''
    read_clock
    read_last "$item"
    each_tarball choose "$item"
    [ -z "$beyond" ] || complain "passed over, as the link last of $item leads to $last, and to none that is suspect: $beyond." \
        "These may be of what was emptied, encrypted or made anew. To restore one on purpose, give its date and time as STAMP: $doubtful"
    [ -n "$chosen" ] || [ -z "$beyond" ] || fail "$item has no other verified tarball${wanted:+ of $wanted}: nothing was restored"
    [ -n "$chosen" ] || [ -z "$passed" ] || fail "$item has no verified tarball that is not dated later than the clock of this machine has it," \
        "$now: set the clock, or name a STAMP"
    [ -n "$chosen" ] || fail "$item has no verified tarball${wanted:+ of $wanted}: sh restore.sh list shows what it has"
    if [ -n "$chosen_base" ]; then
        full_path=''
        each_tarball choose_full "$item"
        [ -n "$full_path" ] || fail "${chosen##*/} is a differential, and the full tarball of digest $chosen_base that it needs is not here:" \
            "choose another stamp"
    fi
    path=$chosen dig=$chosen_dig alg=$chosen_alg
    find_tools
    find_key
    require_digest
    if [ -n "$chosen_base" ]; then
        path=$full_path dig=$chosen_base alg=$full_alg
        require_digest
    fi
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    enter_private_folder
    for path in ${chosen_base:+"$full_path"} "$chosen"; do
        require_signature
        require_key
    done
    for path in ${chosen_base:+"$full_path"} "$chosen"; do
        require_safe_names
    done
    for path in ${chosen_base:+"$full_path"} "$chosen"; do
        [ -z "$chosen_base" ] || [ "$path" = "$full_path" ] || require_no_links
        say "unpacking ${path##*/} ..."
        unpack || fail "$path could not be unpacked: nothing was restored"
    done
    settle_modes
    move_into_place
    say "restored $item of $chosen_stamp to $destination"
    hint
}

# Given DEST, set destination, and place (the folder above it). Fail where it cannot be.
find_place() {
    destination=$1
    [ -n "$destination" ] || misused 'DEST is empty'
    while case $destination in ?*/) ;; *) false ;; esac; do destination=${destination%/}; done
    case $destination in /*) ;; *) destination=./$destination ;; esac
    case ${destination##*/} in '' | . | ..) fail "$destination exists: choose a DEST that does not" ;; esac
    [ ! -e "$destination" ] && [ ! -L "$destination" ] \
        || fail "$destination exists: choose another DEST, or move it away. Nothing was touched"
    place=${destination%/*}
    require_own_way "$place"
    place=$(cd -P "${place:-/}" 2>/dev/null && pwd -P && echo x) || fail "there is no folder ${destination%/*}: make it, then run this again"
    place=${place%"${newline}x"}
    destination=${place%/}/${destination##*/}
    case $place/ in "$base"/*) fail "$destination lies among the backups: choose a DEST elsewhere" ;; esac
}

# Given a folder, fail if a link on the way to it is somebody else's, who could lead what is written there to anywhere.
require_own_way() {
    case $1 in /*) rest=${1#/} way='' ;; *) rest=$1 way=. ;; esac
    while [ -n "$rest" ]; do
        way=$way/${rest%%/*}
        case $rest in */*) rest=${rest#*/} ;; *) rest='' ;; esac
        [ -L "$way" ] || continue
        set -f
        # shellcheck disable=SC2046 # its fields
        set -- $(ls -lnd "$way" 2>/dev/null)
        set +f
        case ${3:-} in 0 | "$(id -u)") ;; *) fail "$way is a link of uid ${3:-unknown}: name the folder that it leads to, if that is meant" ;; esac
    done
}

# Make a private folder beside DEST the current one, to be named by no path again: whoever may write to the folder above may move it.
enter_private_folder() {
    cd -P "$place" 2>/dev/null || fail "$place cannot be entered"
    temporary=.altbackup-restore-$$
    mkdir "./$temporary" 2>/dev/null || { temporary='' && fail "cannot make $temporary in $place, or it is there already"; }
    made=$temporary temporary=''
    cd -P "./$made" 2>/dev/null || fail "$place/$made is gone: somebody else works in $place. Nothing was restored"
    set -f
    # shellcheck disable=SC2046 # its fields
    set -- $(ls -lnd . 2>/dev/null)
    set +f
    # Only an empty folder of this user, and no link to it, is the one that was made.
    [ "${3:-}" = "$(id -u)" ] && [ "$(pwd -P && echo x)" = "${place%/}/$made${newline}x" ] && [ -z "$(ls -A 2>&1)" ] \
        || fail "$place/$made is another one's: somebody else works in $place. Nothing was restored"
    temporary=$made
    { chmod 700 . && mkdir ./unpacked; } || fail "$place/$made cannot be used: nothing was restored"
}

choose() {
    case $stamp/ in "${wanted:+$wanted/}"*) ;; *) return 0 ;; esac
    if [ -z "$wanted" ] && is_later_than "$now"; then
        passed=$stamp
        complain "${path##*/} of $stamp is passed over: it is dated later than the clock of this machine has it anywhere on earth, $now"
    elif [ "$stamp" != "$wanted" ] && [ "$state" = verified ] && is_beyond_last; then
        beyond="${beyond:+$beyond, }${path##*/} of $stamp" doubtful=$stamp
    elif [ "$state" = verified ] || { [ -n "$wanted" ] && [ "$state" = 'no full' ]; }; then
        chosen=$path chosen_stamp=$stamp chosen_dig=$dig chosen_alg=$alg chosen_base=$base_dig
    elif [ -n "$wanted" ] || [ "$state" = 'no full' ]; then
        complain "${path##*/} of $stamp is passed over: $state"
    fi
}

choose_full() {
    [ "$state" = verified ] && [ "$dig" = "$chosen_base" ] && [ -z "$base_dig" ] || return 0
    full_path=$path full_alg=$alg
}

# Set tar to GNU tar where there is one, and gnu to yes; in busybox's shell the plain name may be another one.
find_tools() {
    for path in ${chosen_base:+"$full_path"} "$chosen"; do
        case ${path%.age} in *.zst) need zstd zstd ;; *.gz) need gzip gzip ;; esac
    done
    need awk 'mawk (or busybox)'
    need find 'findutils (or busybox)'
    path=$chosen tar='' gnu=''
    folders=$PATH:
    while [ -n "$folders" ]; do
        for tar in "${folders%%:*}/tar" "${folders%%:*}/gtar"; do
            [ -f "$tar" ] && [ -x "$tar" ] || continue
            case $("$tar" --version 2>/dev/null </dev/null) in *'GNU tar'*) gnu=yes && return ;; esac
        done
        folders=${folders#*:}
    done
    [ -z "$chosen_base" ] || fail "${chosen##*/} is a differential, which only GNU tar unpacks, and the tar here is another one:" \
        "install the package tar, or choose the stamp of a full tarball"
    need tar tar
    tar=tar
}

require_digest() {
    say "reading ${path##*/} to compare it with its dna ..."
    seen=' ' inode=''
    check_digest || fail "$path is damaged: $why. Choose another stamp"
}

# Write the archive at path, decrypted and decompressed, to stdout; leave a mark where that fails.
decompress() {
    case $path in
        *.age) decrypt 2>>./said | expand ;;
        *) expand <"$path" ;;
    esac || : >./failed
}

expand() {
    case ${path%.age} in
        *.zst) zstd -dcq ;;
        *.gz) gzip -dc ;;
        *) cat ;;
    esac
}

# Write what is in the encrypted file at path to stdout. The key goes by a pipe: no other program is shown it.
decrypt() {
    if [ -n "$secret" ]; then
        printf '%s\n' "$secret" | age -d -i - "$path"
    else
        age -d -i "$identity" "$path" </dev/null
    fi || : >./failed
}

# ---- what is encrypted

# Set record to the file with what is known of the tarball at path, empty where there is none that is no link.
find_record() {
    record=$base/.altbackup
    rest=records/${path#"$base/"}
    rest=${rest%/*}.json
    while case $rest in */*) ;; *) false ;; esac; do
        record=$record/${rest%%/*} rest=${rest#*/}
        [ -d "$record" ] && [ ! -L "$record" ] || { record='' && return 0; }
    done
    record=$record/$rest
    is_file "$record" && [ -r "$record" ] || record=''
}

# Given a key of the record, set token to its text, empty where there is none of letters that a digest or signature may have.
read_record() {
    token=''
    [ -z "$record" ] || token=$(head -c 33554432 "$record" | sed -n "s/.*\"$1\": \"\([A-Za-z0-9+\/=]*\)\".*/\1/p" | head -n 1)
}

# Set recipients to a text on to whom the tarball at path is encrypted, as its record says.
read_recipients() {
    recipients=''
    [ -z "$record" ] || recipients=$(head -c 33554432 "$record" | sed -n 's/.*"to": \[\([^]]*\)\].*/\1/p' | head -n 1 | tr -d '"')
    recipients=${recipients:+" to $recipients"}
}

# Set secret to the keys of age at hand, where they are such, decrypted if that needs a passphrase.
find_key() {
    secret=''
    case $path in *.age) ;; *) return 0 ;; esac
    need sed sed
    need age age
    find_record
    read_recipients
    [ -n "$identity" ] || fail "${path##*/} is encrypted$recipients: give the key of one of them, with --identity FILE. Where it is, the recovery sheet says"
    is_file "$identity" || [ -r "$identity" ] || fail "$identity is no file that can be read: give the one with the key, with --identity FILE"
    case $(head -n 1 "$identity" | tr -d '\000') in
        age-encryption.org/v1 | '-----BEGIN AGE ENCRYPTED FILE-----')
            secret=$(age -d "$identity") || fail "$identity cannot be opened: nothing was restored" ;;
        -----BEGIN\ *) ;;
        *) secret=$(cat "$identity") ;;
    esac
}

# Fail if the key at hand does not open the file at path.
require_key() {
    case $path in *.age) ;; *) return 0 ;; esac
    { decrypt 2>./said | head -c 1; } >/dev/null
    rm -f ./failed
    [ ! -s ./said ] || fail "${path##*/} is encrypted$recipients, and $identity does not open it: $(head -n 1 ./said). Nothing was restored"
}

# Fail unless what is at path is what its source has signed; without a file of signers, say that nobody knows who made it.
require_signature() {
    if [ -z "$signers" ]; then
        case $path in *.age) say "nothing tells who made ${path##*/}: --signed-by FILE, with the recovery sheet, compares its signature" ;; esac
        return 0
    fi
    where=${path#"$base/$item/"}
    where=${where%/*}
    case $path in
        *.age) ;;
        *)
            [ "$path" != "$chosen" ] || [ "$wanted" = "$where" ] \
                || fail "${path##*/} of $where is not encrypted, so nobody has signed it: to restore it all the same, give its date and time as STAMP"
            return 0 ;;
    esac
    need ssh-keygen openssh-client
    need base64 'coreutils (or busybox)'
    find_record
    read_record signed
    printf %s "$token" | base64 -d >./statement 2>/dev/null
    read_record signature
    printf %s "$token" | base64 -d >./signature 2>/dev/null
    sed -n 's/^[[:space:]]*\([^[:space:]]*\) \(ssh-[a-z0-9]* [A-Za-z0-9+\/=]*\).*/\1 \2/p' <"$signers" >./signers
    [ -s ./signers ] || fail "$signers has no line like SOURCE ssh-ed25519 AAAA...: nothing was restored"
    said_source=$(sed -n 's/^source //p' ./statement)
    for name in "$said_source" "${item%%/*}"; do
        ssh-keygen -q -Y verify -n altbackup -I "$name" -f ./signers -s ./signature <./statement >./said 2>&1 \
            || fail "${path##*/} of $where has no signature of ${item%%/*} by a key of $signers: somebody else may have made it. Nothing was restored"
    done
    set -- "item ${item#*/}" "stamp $where"
    if [ "$path" = "$chosen" ]; then
        set -- "$@" "alg $chosen_alg" "dig $chosen_dig" ${chosen_base:+"base_dig $chosen_base"}
    else
        set -- "$@" "alg $full_alg" "dig $chosen_base"
    fi
    for line; do
        grep -Fxq -e "$line" ./statement \
            || fail "${path##*/} of $where is not what ${item%%/*} signed (it should say: $line): somebody exchanged it. Nothing was restored"
    done
}

# Fail if anything in the archive at path would come to lie outside of its one top folder, or would not come out as it was.
require_safe_names() {
    [ -n "$gnu" ] && note='' || note=', or is part of a name with a line break, which needs GNU tar'
    why=$(decompress | count_capabilities | {
        "$tar" ${gnu:+--quoting-style=escape} -t -f - 2>./said || : >./failed
        cat >/dev/null # what follows the end of the archive
    } | awk '
        NR == 1 { top = $0; sub("/.*", "", top) }
        NR == 1 && (top == "" || top == "." || top == "..") || index($0 "/", top "/") != 1 || ("/" $0 "/") ~ /\/\.\.\// {
            if (!bad++) print "\"" $0 "\""
        }
        END { if (!NR) print "nothing" }')
    [ ! -e ./failed ] || fail "$path cannot be read as an archive: $(head -n 3 ./said | tr '\n' ' ')Nothing was unpacked"
    [ -z "$why" ] || fail "${path##*/} holds $why, which does not lie in its one folder$note: nothing was unpacked"
    [ -n "$gnu" ] || require_plain
}

# Pass an archive on, and write how many of its files have capabilities, where these are to be left out.
count_capabilities() {
    # shellcheck disable=SC2015 # whatever fails, it is passed on
    [ -n "$gnu" ] && [ -z "$special_modes" ] && command -v tee >/dev/null && mkfifo ./copy 2>/dev/null || {
        cat
        return
    }
    {
        "$tar" --quoting-style=escape -tvv --xattrs "--xattrs-include=*" -f - 2>/dev/null
        cat >/dev/null
    } <./copy | grep -c '^  x: *[0-9]* security\.capability$' >>./capabilities &
    tee ./copy
    wait
    rm -f ./copy
}

# Fail if a tar that is not GNU's would make something else of the archive at path: of these it ignores what it does not know.
require_plain() {
    [ ! -s ./said ] || fail "${path##*/} is no plain archive ($(head -n 1 ./said)): nothing was unpacked"
    say 'the tar here is not GNU tar: extended attributes and ACLs, if there are any, are not restored'
    if decompress | tr '\000' '\n' | grep -Eq '^[0-9]+ (GNU\.sparse\.[a-z.]+|linkpath|size)='; then
        fail "${path##*/} has sparse or very large files or long links, which this tar would spoil: install GNU tar, the package tar"
    fi
}

# Fail if anything of the differential at path would be written, linked or renamed through a symbolic link: its own, which are to have
# nothing below, or one of the full tarball, which is unpacked. Such a one where the differential has a folder is removed, as tar is to.
require_no_links() {
    decompress | {
        "$tar" --quoting-style=escape -tvv -g /dev/null -f - 2>./said || : >./failed
        cat >/dev/null
    } | awk '
        BEGIN {
            for (i = 1; i < 256; i++) escaped[sprintf("%c", i)] = i > 31 && i < 127 ? sprintf("%c", i) : sprintf("\\%03o", i)
            split("a 7 b 8 t 9 n 10 v 11 f 12 r 13", letters)
            for (i = 1; i < 14; i += 2) escaped[sprintf("%c", letters[i + 1] + 0)] = "\\" letters[i]
            escaped["\\"] = "\\\\"
        }
        /^.[-r][-w][-xsS][-r]/ { members++ }
        /^h/ { # to what a hard link leads, wherever its name may end
            for (rest = $0; (i = index(rest, " link to ")) > 0; ) {
                rest = substr(rest, i + 9)
                print "link " rest
            }
        }
        /^[RTX] / { # a dumpdir has names as they are
            name = ""
            for (i = 3; i <= length($0); i++) name = name escaped[substr($0, i, 1)]
            print substr($0, 1, 1) (members > 1 ? "late " : " ") name
        }' >./renames || : >./failed
    grep -q '^[RTX]' ./renames && require_no_line_breaks
    decompress | {
        "$tar" --quoting-style=escape -t -f - 2>./said || : >./failed
        cat >/dev/null
    } | awk '
        function last(name, most,   found, list, i) { # the last rename, up to one, of a path or of a folder above it
            for (found = 0; ; name = substr(name, 1, RSTART - 1)) {
                for (i = split(uses[name], list, " "); i > 0 && list[i] + 0 > most; ) i--
                if (i > 0 && list[i] + 0 > found) found = list[i] + 0
                if (!match(name, "/[^/]*$")) return found
            }
        }
        function before(name, most,   i) { # what a path was called before the renames, up to one
            for (; (i = last(name, most)) > 0; most = i - 1) {
                if (index(name "/", to[i] "/") != 1) return ""
                name = from[i] substr(name, length(to[i]) + 1)
            }
            return name
        }
        function plain(name) { # a path without empty parts
            gsub("//+", "/", name)
            while (sub("/[.]/", "/", name)) continue
            sub("/[.]$", "/", name)
            sub("^/", "", name)
            return name
        }
        function tell(what, name) {
            if (name == "" || (what, name) in told) return
            told[what, name] = 1
            gsub("%", "%%", name)
            print what, name
        }
        function tell_above(what, name, most, itself,   parts, count, i, path) {
            count = split(name, parts, "/")
            for (i = 1; i < count + itself; i++) tell(what, before(path = (i > 1 ? path "/" : "") parts[i], most))
        }
        part == 1 {
            name = substr($0, index($0, " ") + 1)
            if ($0 ~ /^link /) { targets[++links] = plain(name); next }
            renamed[++count] = name
            kind[count] = substr($0, 1, 1)
            if ($0 ~ /^.late /) tell("hostile", name == "" ? "/" : name)
            next
        }
        {
            $0 = plain($0)
            folder = sub("/$", "")
        }
        FNR == 1 {
            top = $0; sub("/.*", "", top)
            for (i = 1; i <= count; i++) {
                name = renamed[i]
                if (name != "" && (index(name "/", top "/") != 1 || ("/" name "/") ~ /\/\.\.?\/|\/\//) || kind[i] == "X" && name == "")
                    tell("hostile", name == "" ? "/" : name)
                tell_above("renamed", name, renames, 1)
                name = name == "" ? "?" : name
                if (kind[i] == "R") source = name
                if (kind[i] != "T") continue
                from[++renames] = source; to[renames] = name
                uses[source] = uses[source] " " renames; uses[name] = uses[name] " " renames
            }
            for (i = 1; i <= links; i++) tell_above("renamed", targets[i], renames, 0)
        }
        {
            parts = split($0, names, "/"); path = ""
            for (i = 1; i <= parts; i++) {
                path = path (i > 1 ? "/" : "") names[i]
                if (i == parts && !folder) { other[path] = 1; if (path in above) tell("hostile", path); break }
                if (path in other) tell("hostile", path)
                if (i == parts) {
                    if (!(path in above)) listed[path] = 1
                } else if (path in above) continue
                above[path] = 1
                tell(path in listed ? "folder" : "above", before(path, renames))
                for (k = last(path, renames); k > 0; k = last(path, k - 1)) tell("renamed", before(path, k - 1))
            }
        }' part=1 ./renames part=2 - >./links || : >./failed
    [ ! -e ./failed ] || fail "$path cannot be read as an archive: $(head -n 3 ./said | tr '\n' ' ')Nothing was restored"
    while IFS= read -r line; do
        # shellcheck disable=SC2059 # it is one
        name=$(printf -- "${line#* }x")
        name=${name%x}
        case $line in
            hostile\ *) ;;
            folder\ *)
                [ ! -L "./unpacked/$name" ] || rm -f "./unpacked/$name"
                continue ;;
            *) [ -L "./unpacked/$name" ] || continue ;;
        esac
        fail "${path##*/} would write or rename through $name, which is a symbolic link or may become one: whoever made it may want to" \
            "overwrite files of this machine. Nothing was restored; the full tarball, ${full_path##*/}, can be restored alone"
    done <./links
}

# Fail if there are names in the full tarball with a line break: then a list of what is renamed may be read in two ways.
require_no_line_breaks() {
    differential=$path path=$full_path
    broken=$(decompress | {
        "$tar" --quoting-style=escape -t -f - 2>./said || : >./failed
        cat >/dev/null
    } | grep -E '(^|[^\\])(\\\\)*\\n')
    path=$differential
    [ -z "$broken" ] || fail "${path##*/} renames folders, which this script does not do where there are line breaks in names:" \
        "${broken%%"$newline"*}. Nothing was restored; the full tarball, ${full_path##*/}, can be restored alone"
}

unpack() {
    if [ -n "$gnu" ]; then
        set -- --warning=no-timestamp --xattrs "--xattrs-include=*" --acls
        [ -n "$special_modes" ] || set -- "$@" --xattrs-exclude=security.capability
        "$tar" --help 2>/dev/null | grep -q -e --xattrs-include || set -- # an old one
        set -- "$@" --delay-directory-restore ${chosen_base:+--listed-incremental=/dev/null}
    else
        set --
    fi
    [ -z "$numeric" ] || set -- "$@" --numeric-owner
    decompress | {
        cd ./unpacked && "$tar" -x -p "$@" -f - 2>../said || exit # with -C, tar renames no folders in a circle
        cat >/dev/null # what follows the end of the archive
    } && [ ! -e ./failed ]
    set -- $?
    while IFS= read -r line; do
        complain "$line"
    done <./said
    return "$1"
}

# Take away what may make somebody root: all of it lies in the private folder, where nobody else could use it yet.
settle_modes() {
    [ -z "$special_modes" ] || return 0
    found=$(find ./unpacked ! -type f ! -type d ! -type l 2>/dev/null | head -n 1)
    if [ -n "$found" ]; then
        find ./unpacked ! -type f ! -type d ! -type l -exec rm -f {} + || fail 'devices and named pipes could not be taken away: nothing was restored'
        say "devices and named pipes were left out, such as ${found#./unpacked/}: --special-modes brings them back"
    fi
    found=$(awk '{ found += $1 } END { if (found) print found }' ./capabilities 2>/dev/null)
    [ -z "$found" ] || say "file capabilities of $found file(s) were left out: --special-modes brings them back"
    found=$(find ./unpacked -type f \( -perm -4000 -o -perm -2000 \) | head -n 1)
    [ -n "$found" ] || return 0
    find ./unpacked -type f \( -perm -4000 -o -perm -2000 \) -exec chmod ug-s {} + || fail 'setuid bits could not be taken away: nothing was restored'
    say "setuid and setgid bits of files were taken away, such as that of ${found#./unpacked/}: --special-modes keeps them"
}

# Give the one folder that was unpacked the name of DEST.
move_into_place() {
    set -- ./unpacked/*
    [ $# -eq 1 ] && [ -d "$1" ] && [ ! -L "$1" ] || fail "${chosen##*/} does not hold one folder: nothing was restored"
    target=../${destination##*/}
    [ ! -e "$target" ] && [ ! -L "$target" ] || fail "$destination came into being meanwhile: nothing was restored"
    locked=''
    [ -w "$1" ] || { locked=yes && chmod u+w "$1"; } # no folder can be moved that its owner cannot write to
    no_folder='' # an mv that knows it moves nothing into a folder, or what a link leads to, that came into being just now
    case $(mv --help 2>&1) in *-T*) no_folder=-T ;; esac
    mv ${no_folder:+"$no_folder"} "$1" "$target" 2>./said || fail "cannot make $destination: nothing was restored. $(head -n 1 ./said)"
    [ -z "$locked" ] || chmod u-w "$target"
}

# Given a text, set quoted to it as one word of a shell.
quote() {
    quoted='' rest=$1
    while case $rest in *"'"*) ;; *) false ;; esac; do
        quoted=$quoted${rest%%"'"*}"'\\''"
        rest=${rest#*"'"}
    done
    quoted="'$quoted$rest'"
}

hint() {
    quote "$destination"
    category=${item#*/}
    case ${category%%/*} in
        svn) say "to prove it: svnadmin verify $quoted" ;;
        tracs) say "to prove it: sqlite3 $quoted/db/trac.db 'PRAGMA integrity_check'; then: trac-admin $quoted repository resync '*'" ;;
        git)
            say "to prove it, after a look at its config and hooks: git -C $quoted fsck --full"
            [ ! -d "$destination/.git" ] || say "it had a working tree; to get the files of its last commit: git -C $quoted reset --hard" ;;
        hg) say "to prove it, after a look at its hgrc: hg -R $quoted verify" ;;
        databases)
            if [ -f "$destination/globals.sql" ]; then
                say "to load it: psql -X -f $quoted/globals.sql postgres, then for each database: pg_restore --create -d postgres $quoted/NAME.dump"
            elif [ -f "$destination/config.ldif" ]; then
                say "to load it, into empty folders: slapadd -F slapd.d -n 0 -l $quoted/config.ldif, then the other numbers"
            elif [ -n "$(find "$destination" -maxdepth 1 -name '*.sql')" ]; then
                say "to load it, for each database, once it is made: mariadb --sandbox --binary-mode NAME < $quoted/NAME.sql; then users.sql without a name"
            else
                say "to prove it: sqlite3 FILE 'PRAGMA integrity_check', FILE being what is in $quoted"
            fi ;;
    esac
    case $item in */folders/altbackup-controller) say "what to do with it stands in $destination/README.txt" ;; esac
    if [ "$(id -u)" -ne 0 ]; then
        say 'all of it belongs to you: only root can give it the owners that it had'
        return
    fi
    if [ -n "$numeric" ]; then
        say "its owners are those of the backup, by number: look at them with ls -lnR $quoted"
    else
        say "its owners are those of the backup, by name where this machine knows the name, else by number: look at them with ls -lR $quoted"
    fi
    if [ -n "$special_modes" ]; then
        say 'where a number is that of somebody else here: give his user that one (usermod -u, groupmod -g); chown would take setuid, setgid and capabilities away'
        return
    fi
    say "where a number is that of somebody else here: find $quoted -user OLD -exec chown -h NEW {} +, and the same with -group and chgrp"
}

# ---- the command line

case $0 in /*) base=${0%/*} ;; */*) base=./${0%/*} ;; *) base=. ;; esac
base=$(cd -P "${base:-/}" && pwd -P && echo x) || fail "the folder of $0 cannot be entered"
base=${base%"${newline}x"}
base=${base%/}
for tool in ls tr; do need "$tool" 'coreutils (or busybox)'; done

case ${1:-} in
    list)
        [ $# -eq 1 ] || misused 'list takes nothing more'
        list ;;
    verify)
        [ $# -le 2 ] || misused 'verify takes one ITEM at most; quote it if it has spaces'
        shift
        verify "$@" ;;
    restore)
        shift
        special_modes='' numeric='' identity='' signers=''
        while :; do
            case ${1:-} in
                --special-modes) special_modes=yes ;;
                --numeric) numeric=yes ;;
                --identity | --signed-by)
                    [ $# -gt 1 ] || misused "$1 takes a FILE"
                    case $2 in /*) file=$2 ;; *) file=$PWD/$2 ;; esac
                    case $1 in --identity) identity=$file ;; *) signers=$file ;; esac
                    shift ;;
                *) break ;;
            esac
            shift
        done
        [ -z "$signers" ] || { is_file "$signers" && [ -r "$signers" ]; } || fail "$signers is no file that can be read: give the recovery sheet"
        [ $# -eq 2 ] || [ $# -eq 3 ] || misused 'restore takes ITEM, DEST and perhaps STAMP; quote what has spaces'
        restore "$@" ;;
    help | -h | --help)
        usage ;;
    *)
        misused "unknown command: ${1:-none was given}" ;;
esac
