// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();
}

impl CachedFile for Case {}

#[allow(dead_code)]
fn size(inode: CachedInode<Case>) -> u64 {
    let mapping = inode.mapping();
    drop(inode); //~ error[E0505]
    mapping.size()
}
