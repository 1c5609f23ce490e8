"""One device into many: meshes, and models divided over them from outside."""

from glasshouse.parallel.launch import absent_ranks as absent_ranks
from glasshouse.parallel.launch import init_distributed as init_distributed
from glasshouse.parallel.launch import leave as leave
from glasshouse.parallel.launch import main_first as main_first
from glasshouse.parallel.launch import tell as tell
from glasshouse.parallel.mesh import AXES as AXES
from glasshouse.parallel.mesh import Mesh as Mesh
from glasshouse.parallel.mesh import MeshConfig as MeshConfig
from glasshouse.parallel.mesh import check_model as check_model
from glasshouse.parallel.sharded import copied as copied
from glasshouse.parallel.sharded import is_sharded as is_sharded
from glasshouse.parallel.sharded import local as local
from glasshouse.parallel.sharded import piece_of as piece_of
from glasshouse.parallel.sharded import piece_of_zeros as piece_of_zeros
from glasshouse.parallel.sharded import put as put
from glasshouse.parallel.sharded import whole as whole
from glasshouse.parallel.sharded import with_local as with_local
from glasshouse.parallel.team import Team as Team
from glasshouse.parallel.team import apply_plan as apply_plan
from glasshouse.parallel.vocabulary import divided_cross_entropy_sum as divided_cross_entropy_sum
