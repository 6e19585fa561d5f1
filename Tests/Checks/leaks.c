// Looks for leaks as a program exits: linked into the programs for `make check-asan` only, with
// --wrap=_exit.
//
// The programs end by _exit(2), and the sanitizer looks for leaks in exit(3). Whatever an exchange,
// a session or a connection still holds is reachable from its thread: what is found belongs to
// nobody any more.

void __lsan_do_leak_check(void);
void __real__exit(int status) __attribute__((noreturn));

void __wrap__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status)
{
    __lsan_do_leak_check();
    __real__exit(status);
}
