mod cuts;
mod rig;
mod trouble;
